"""A link to a worker, as the front uses it: several requests at once, tensors as plain bytes.

The memory is the one that :mod:`edge_agent.inference.link` describes. Here nothing is made an array: a request's bytes are copied
once into the slot, an answer's bytes are sent from it.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Sequence
from math import prod
from typing import Any

from edge_agent.front.exchange import Exchange, Shape
from edge_agent.front.served import Served
from edge_agent.inference.doorbell import LinkFds, silence
from edge_agent.inference.layout import MAX_DIMENSIONS, TEXT_BYTES
from edge_agent.inference.link import ANSWERED, ASKED, TAKEN
from edge_agent.values import DTYPES

_HEADER = struct.Struct("<QIId")
SMALL_BYTES = 16 << 10
"""Outputs up to this size are copied out of the slot: cheaper than a view, and the slot is free at once."""


class WorkerLink:
    """Takes ownership of ``fds``. ``asked`` are the requests that the worker owes an answer, oldest first."""

    at_once = False

    def __init__(self, number: int, served: Served, fds: LinkFds) -> None:
        layout = served.layout
        self.link = number
        self.served = served
        self.asked: dict[int, Exchange] = {}
        self.last_answer_ns = 0
        self.busy_ns = 0
        self.answers = 0
        self.response_fd = fds.response
        self._fds = fds
        self._memory = mmap.mmap(fds.memory, layout.total_bytes)
        self._slots = layout.slots
        self._slot_bytes = layout.slot_bytes
        self._next = 0
        self._fixed = [(p.offset, p.offset + p.capacity_bytes) for p in layout.outputs] if _all_fixed(served) else None
        self._shapes: list[Shape] = [p.shape or () for p in layout.outputs]
        self._views = sum(p.capacity_bytes for p in layout.outputs) > SMALL_BYTES

    @property
    def free(self) -> bool:
        """Whether one more request has a slot."""
        asked = self.asked
        return not asked or self._next - next(iter(asked)) < self._slots

    def put(self, exchange: Exchange) -> None:
        """Write a request and ring. There must be a free slot."""
        number = self._next
        self._next = number + 1
        exchange.number = number
        base = (number % self._slots) * self._slot_bytes
        memory, plan = self._memory, exchange.plan
        if len(plan.copies) == 1 and exchange.buffers is None:
            start = base + plan.copies[0][0]
            memory[start : start + plan.total_bytes] = memoryview(exchange.body)[exchange.at :]
        else:
            for (offset, size), piece in zip(plan.copies, exchange.pieces(), strict=True):
                memory[base + offset : base + offset + size] = piece
        for offset, shape in plan.free:
            struct.pack_into(f"<{1 + len(shape)}Q", memory, base + offset, len(shape), *shape)
        _HEADER.pack_into(memory, base, number, ASKED, 0, 0.0)
        self.asked[number] = exchange
        os.eventfd_write(self._fds.request, 1)

    def answered(self) -> list[tuple[Exchange, int, int, float]]:
        """(request, slot's start, bytes of error text or -1, microseconds of the model) for all answers that are there."""
        asked, memory, done = self.asked, self._memory, []
        # As often as it rang, so many are answered, in the order asked; a header that was not rung for must not be looked at.
        for _ in range(min(silence(self.response_fd), len(asked))):
            number = next(iter(asked))
            base = (number % self._slots) * self._slot_bytes
            _, status, length, model_us = _HEADER.unpack_from(memory, base)
            done.append((asked.pop(number), base, -1 if status == ANSWERED else length, model_us))
        return done

    def taken(self, exchange: Exchange) -> bool:
        """Whether the worker began on the request and did not end it."""
        there, status, _, _ = _HEADER.unpack_from(self._memory, (exchange.number % self._slots) * self._slot_bytes)
        return bool(there == exchange.number and status == TAKEN)

    def values(self, base: int) -> tuple[Sequence[Any], Sequence[Shape]]:
        """The outputs in the slot at ``base``, and their shapes."""
        if self._fixed is not None:
            memory: Any = memoryview(self._memory) if self._views else self._memory
            return [memory[base + start : base + end] for start, end in self._fixed], self._shapes
        return self._free_values(base)

    def text(self, base: int, length: int) -> str:
        """Why the model refused the request."""
        where = base + self.served.layout.text_offset
        return self._memory[where : where + min(length, TEXT_BYTES)].decode(errors="replace") or "the model refused the input"

    def close(self) -> None:
        self._fds.close()

    def _free_values(self, base: int) -> tuple[Sequence[Any], Sequence[Shape]]:
        view = memoryview(self._memory)
        values, shapes = [], []
        for place in self.served.layout.outputs:
            shape = place.shape if place.shape is not None else self._shape(base + place.shape_offset)
            # What a broken worker wrote there must not lead out of the tensor's place.
            size = min(prod(shape) * DTYPES[place.dtype], place.capacity_bytes)
            values.append(view[base + place.offset : base + place.offset + size])
            shapes.append(shape)
        return values, shapes

    def _shape(self, where: int) -> Shape:
        (count,) = struct.unpack_from("<Q", self._memory, where)
        return struct.unpack_from(f"<{min(count, MAX_DIMENSIONS)}Q", self._memory, where + 8)


def _all_fixed(served: Served) -> bool:
    return all(place.shape is not None for place in served.layout.outputs)
