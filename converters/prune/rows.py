"""What a layer reads and writes at sampled places, as rows of a linear system: (rows, inputs) times (inputs, outputs)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from converters.model import attributes

MIN_ROWS, MAX_ROWS = 4_000, 12_000
ROWS_AN_INPUT = 10
"""Looked at of a layer, for each weight that an output has; between the two bounds."""
MAX_ROW_BYTES = 96 << 20
"""Of the rows of one layer, float32."""


@dataclass(frozen=True, slots=True)
class Window:
    """Of a convolution in two dimensions (height 1 for one), each as (vertical, horizontal); ``pads`` are before and after."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]


def window_of(node: Any, weight: Any, image: Sequence[int]) -> Window:
    """The window of a Conv with ``weight`` (out, in, ...) over an ``image`` of these sizes (one or two)."""
    options, rank = attributes(node), weight.ndim - 2
    kernel = tuple(weight.shape[2:])
    strides, dilations = (tuple(options.get(key, [1] * rank)) for key in ("strides", "dilations"))
    auto = options.get("auto_pad", b"NOTSET").decode()
    if auto.startswith("SAME"):
        pads = [_same(*sizes, upper=auto == "SAME_UPPER") for sizes in zip(image, kernel, strides, dilations, strict=True)]
    else:
        given = options.get("pads", [0] * 2 * rank) if auto == "NOTSET" else [0] * 2 * rank
        pads = [(given[axis], given[axis + rank]) for axis in range(rank)]
    if rank == 1:
        return Window((1, kernel[0]), (1, strides[0]), (1, dilations[0]), ((0, 0), pads[0]))
    return Window((kernel[0], kernel[1]), (strides[0], strides[1]), (dilations[0], dilations[1]), (pads[0], pads[1]))


def _same(size: int, kernel: int, stride: int, dilation: int, *, upper: bool) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return (total // 2, total - total // 2) if upper else (total - total // 2, total // 2)


MAX_TARGET_BYTES = 16 << 20
"""Of the outputs of one layer at those rows, float32: they are held for all layers."""
MAX_INPUTS = 4608
"""Wider layers (512 channels of 3 x 3) are neither ranked nor fitted: their second moments alone would be hundreds of MiB."""


def sampled_places(images: int, places: int, inputs: int, outputs: int, draw: np.random.Generator) -> Any:
    """Which of the ``places`` of each image are looked at: int64 (images, chosen), as many as memory and ``MAX_ROWS`` allow."""
    wanted = min(max(ROWS_AN_INPUT * inputs, MIN_ROWS), MAX_ROWS)
    rows = min(wanted, max(MAX_ROW_BYTES // (4 * inputs), 1), max(MAX_TARGET_BYTES // (4 * outputs), 1))
    chosen = min(places, max(rows // images, 1))
    return np.stack([np.sort(draw.permutation(places)[:chosen]) for _ in range(images)])


def places_of(array: Any) -> int:
    """How many places a layer's output (batch, channels, ...) has in one image."""
    return prod(array.shape[2:])


def output_rows(arrays: Sequence[Any], at: Any) -> Any:
    """Outputs (batch, channels, ...) of all samples at the places ``at``: float32 (rows, channels)."""
    parts = [image.reshape(image.shape[0], -1)[:, places].T for image, places in zip(images_of(arrays), at, strict=True)]
    return np.concatenate(parts).astype(np.float32, copy=False)


def input_rows(arrays: Sequence[Any], window: Window | None, at: Any) -> Any:
    """What is read for those outputs: float32 (rows, channels, taps); ``window`` is ``None`` for a dense layer."""
    if window is None:
        return np.concatenate([array.reshape(array.shape[0], -1) for array in arrays])[:, :, None].astype(np.float32, copy=False)
    first = next(images_of(arrays))
    taps = _taps(window, first.shape)
    return np.concatenate([_patches(image, window, taps[places]) for image, places in zip(images_of(arrays), at, strict=True)])


def images_of(arrays: Sequence[Any]) -> Iterator[Any]:
    """Each (channels, ...) image of samples that are batches, most often of one."""
    for array in arrays:
        yield from array


def _taps(window: Window, shape: Sequence[int]) -> Any:
    """For every output place the positions of its taps in the padded image, flat: int64 (places, taps)."""
    sizes = (1, shape[1]) if len(shape) == 2 else tuple(shape[1:])
    axes = []
    for axis in (0, 1):
        padded = sizes[axis] + sum(window.pads[axis])
        reach = (window.kernel[axis] - 1) * window.dilations[axis] + 1
        starts = np.arange((padded - reach) // window.strides[axis] + 1) * window.strides[axis]
        axes.append(starts[:, None] + np.arange(window.kernel[axis]) * window.dilations[axis])
    width = sizes[1] + sum(window.pads[1])
    down, across = axes
    flat = down[:, None, :, None] * width + across[None, :, None, :]
    return flat.reshape(len(down) * len(across), -1)


def _patches(image: Any, window: Window, taps: Any) -> Any:
    image = image[:, None] if image.ndim == 2 else image
    padded = np.pad(image, ((0, 0), *window.pads)).reshape(image.shape[0], -1)
    return padded[:, taps].transpose(1, 0, 2)
