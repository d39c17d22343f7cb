"""Where the tensors of one request lie in the memory that a pipeline and a model worker share. Arithmetic only, no numpy.

A link has ``slots`` equal slots, one request each. A slot is a header, the shapes of tensors with free dimensions, room for
an error text, and the tensors, each at a multiple of 64 bytes (what vector instructions like, and a cache line).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from edge_agent.bundle.manifest import Manifest
from edge_agent.errors import BundleError
from edge_agent.values import DTYPES, TensorSpec

ALIGN_BYTES = 64
HEADER_BYTES = 64
TEXT_BYTES = 512
MAX_DIMENSIONS = 8
SHAPE_BYTES = 8 * (1 + MAX_DIMENSIONS)
SLOTS = 2

_FREE_FACTOR = 1024
_FREE_LEAST_BYTES = 1 << 20
_FREE_MOST_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """One tensor in a slot. ``offset`` and ``shape_offset`` are bytes from the slot's start; ``capacity_bytes`` bounds it.

    ``shape`` is ``None`` when a dimension is free: then the shape of each request stands at ``shape_offset``.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    offset: int
    shape_offset: int
    capacity_bytes: int


@dataclass(frozen=True, slots=True)
class LinkLayout:
    """Places of all inputs and outputs, bytes of a slot, number of slots."""

    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    text_offset: int
    slot_bytes: int
    slots: int

    @property
    def total_bytes(self) -> int:
        return self.slot_bytes * self.slots


def layout_of(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, slots: int = SLOTS) -> LinkLayout:
    """The layout both ends agree on. Raises BundleError for a tensor with more dimensions than a link carries."""
    tensors = (*inputs, *outputs)
    for spec in tensors:
        if len(spec.shape) > MAX_DIMENSIONS:
            raise BundleError(f"tensor {spec.name}: {len(spec.shape)} dimensions; a model may have at most {MAX_DIMENSIONS}")
    text_offset = HEADER_BYTES + SHAPE_BYTES * len(tensors)
    offset = _aligned(text_offset + TEXT_BYTES)
    places = []
    for index, spec in enumerate(tensors):
        fixed = tuple(size for size in spec.shape if size is not None)
        shape = fixed if len(fixed) == len(spec.shape) else None
        capacity = _capacity_bytes(spec, shape)
        places.append(Place(spec.name, spec.dtype, shape, offset, HEADER_BYTES + SHAPE_BYTES * index, capacity))
        offset = _aligned(offset + capacity)
    count = len(inputs)
    return LinkLayout(tuple(places[:count]), tuple(places[count:]), text_offset, offset, slots)


def layout_for(manifest: Manifest, slots: int = SLOTS) -> LinkLayout:
    """The layout of ``manifest``'s model, for ``slots`` requests at a time."""
    return layout_of(manifest.inputs, manifest.outputs, slots=slots)


def _capacity_bytes(spec: TensorSpec, shape: tuple[int, ...] | None) -> int:
    if shape is not None:
        return prod(shape) * DTYPES[spec.dtype]
    # Pages of a memory file that are never written cost nothing, so a free dimension may be given plenty of room.
    least = spec.bytes_for(1)
    if spec.shape.count(None) > 1 and sys.maxsize > 1 << 32:  # a picture of any size, say; where there are addresses to spare
        return max(least, _FREE_MOST_BYTES)
    return max(least, min(max(least * _FREE_FACTOR, _FREE_LEAST_BYTES), _FREE_MOST_BYTES))


def _aligned(offset: int) -> int:
    return -(-offset // ALIGN_BYTES) * ALIGN_BYTES
