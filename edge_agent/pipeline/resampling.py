"""Pictures to another size: separable resampling with half-pixel centres, as Pillow's ``Image.resize`` does it.

Bytes give the very bytes Pillow gives (Pillow 10, src/libImaging/Resample.c: coefficients with 22 binary places, the rows first, rounded
to bytes between the two passes); float32 is summed in float64 and rounded once a pass, as Pillow's mode F.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

PLACES = 22
MAX_SIDE = 16_384
CACHED = 1 << 16
"""Sums at work at a time."""

_FILTERS: Mapping[str, tuple[float, Callable[[float], float]]] = {
    "bilinear": (1.0, lambda x: max(1.0 - abs(x), 0.0)),
    "area": (0.5, lambda x: 1.0 if -0.5 < x <= 0.5 else 0.0),
}
METHODS = ("bilinear", "nearest", "area")


@dataclass(frozen=True, slots=True)
class Taps:
    """For each of ``count`` new positions along one axis: tap k reads old position ``places[k]`` with weight ``weights[k]``; what lies
    beyond the picture has the weight ``beyond``."""

    places: tuple[Any, ...]
    weights: tuple[Any, ...]
    beyond: Any


def taps_for(method: str, old: int, new: int, *, antialias: bool, span: float | None = None) -> Taps:
    """Weights as Pillow's ``precompute_coeffs``; without ``antialias`` the filter keeps its width where a picture shrinks (two taps).
    ``span``: the picture lies in the middle of a longer one of that many positions."""
    reach, weigh = _FILTERS[method]
    step = (span or old) / new
    before = ((span or old) - old) / 2
    wide = max(step, 1.0) if antialias or method == "area" else 1.0
    edges = math.floor(-before), math.ceil(old + before)
    rows = [_weights(weigh, (at + 0.5) * step - before, reach * wide, wide, edges) for at in range(new)]
    most = max(len(weights) for _, weights in rows)
    places, weights = np.zeros((most, new), np.intp), np.zeros((most, new), np.float64)
    for at, (first, row) in enumerate(rows):
        places[:, at] = np.arange(first, first + most)
        weights[: len(row), at] = row
    inside = (places >= 0) & (places < old)
    beyond = np.where(inside, 0.0, weights).sum(axis=0)
    return Taps(tuple(np.clip(places, 0, old - 1)), tuple(np.where(inside, weights, 0.0)), beyond)


def _weights(
    weigh: Callable[[float], float], centre: float, support: float, wide: float, edges: tuple[int, int]
) -> tuple[int, list[float]]:
    first = max(math.floor(centre - support + 0.5), edges[0])
    last = min(math.floor(centre + support + 0.5), edges[1])
    row = [weigh((at - centre + 0.5) * (1.0 / wide)) for at in range(first, last)]
    total = sum(row)
    return first, [weight / total for weight in row] if total else row


def nearest_places(old: int, new: int, span: float | None = None) -> Any:
    """The old position in whose half-open cell the centre of each new one lies, or -1 beyond the picture; summed step by step, as
    Pillow's Geometry.c does it, so that centres on an edge fall to the same side."""
    steps = np.full(new, (span or old) / new)
    steps[0] /= 2
    places = np.floor(np.add.accumulate(steps) - ((span or old) - old) / 2).astype(np.intp)
    if span is None:
        return np.minimum(places, old - 1)
    return np.where((places >= 0) & (places < old), places, -1)


class Resampler:
    """Resizes pictures (height, width) or (height, width, colours) to ``size``. The tables are kept for the next picture of that shape.

    ``around``: a letterbox, as if the picture were first given the shape of ``size`` by borders of this value, equal on both sides."""

    def __init__(self, size: tuple[int, int], method: str, *, antialias: bool, around: float | None = None) -> None:
        self._size, self._method, self._antialias, self._around = size, method, antialias, around
        self._known: tuple[tuple[int, ...], Any, Any] = ((), None, None)

    def __call__(self, picture: Any) -> Any:
        """The picture in its element type. Raises ValueError for sides beyond ``MAX_SIDE``."""
        if max(picture.shape[:2]) > MAX_SIDE:
            raise ValueError(f"a picture has sides of 1 to {MAX_SIDE}")
        if picture.shape[:2] == self._size:
            return picture
        shape, down, across = self._known
        if shape != picture.shape[:2]:
            down, across = self._tables(picture.shape[:2])
            self._known = (picture.shape[:2], down, across)
        if self._method == "nearest":
            return self._picked(picture, down, across)
        value = self._around or 0.0
        if across is not None:
            picture = _turned(_pass(_turned(picture), across, value))
        return picture if down is None else _pass(picture, down, value)

    def _tables(self, old: tuple[int, int]) -> tuple[Any, Any]:
        ratio = min(self._size[0] / old[0], self._size[1] / old[1])
        spans = (None, None) if self._around is None else tuple(side / ratio for side in self._size)
        down, across = (self._table(*each) for each in zip(old, self._size, spans, strict=True))
        return down, across

    def _table(self, old: int, new: int, span: float | None) -> Any:
        if self._method == "nearest":
            return nearest_places(old, new, span)
        same = old == new and (span is None or span == old)
        return None if same else taps_for(self._method, old, new, antialias=self._antialias, span=span)

    def _picked(self, picture: Any, down: Any, across: Any) -> Any:
        picked = _colours(_pixels(picture)[down[:, np.newaxis], across], picture)
        if self._around is not None:
            picked[down < 0] = self._around
            picked[:, across < 0] = self._around
        return picked


def _pixels(picture: Any) -> Any:
    """(height, width) with all colours of a pixel in one item: they move as a whole, which is faster than one by one."""
    whole = np.ascontiguousarray(picture)
    return whole if whole.ndim == 2 else whole.view(np.dtype((np.void, whole.shape[2] * whole.itemsize)))[:, :, 0]


def _colours(pixels: Any, like: Any) -> Any:
    """Items that :func:`_pixels` made of a picture ``like``, as colours again."""
    return pixels if like.ndim == 2 else pixels.view(like.dtype).reshape(*pixels.shape, like.shape[2])


def _turned(picture: Any) -> Any:
    """Columns become rows, in memory too."""
    return _colours(np.ascontiguousarray(_pixels(picture).T), picture)


def _pass(picture: Any, taps: Taps, around: float) -> Any:
    """Along the first axis, some rows at a time: as many as stay in a processor's cache while the taps are summed."""
    rows = np.ascontiguousarray(picture).reshape(len(picture), -1)
    in_bytes = picture.dtype == np.uint8
    weights, start = _whole(taps, around) if in_bytes else _real(taps, around)
    made = np.empty((len(start), rows.shape[1]), picture.dtype)
    deep = max(1, CACHED // rows.shape[1])
    total, part = np.empty((2, deep, rows.shape[1]), start.dtype)
    for at in range(0, len(start), deep):
        some = slice(at, min(at + deep, len(start)))
        here, tap = total[: some.stop - at], part[: some.stop - at]
        here[...] = start[some]
        for places, weight in zip(taps.places, weights, strict=True):
            np.multiply(rows[places[some]], weight[some], out=tap, dtype=start.dtype)
            here += tap
        if in_bytes:
            here >>= PLACES
            np.minimum(here, 255, out=here)  # many taps, each rounded up, can come out above
        made[some] = here
    return made.reshape(len(start), *picture.shape[1:])


def _whole(taps: Taps, around: float) -> tuple[list[Any], Any]:
    """Weights and the sum that is there before them, half a level for rounding, in whole numbers. No filter here has weights
    below 0."""
    weights = [np.floor(0.5 + weight * (1 << PLACES)).astype(np.int32)[:, np.newaxis] for weight in taps.weights]
    start = np.floor(taps.beyond * around * (1 << PLACES) + 0.5 + (1 << (PLACES - 1))).astype(np.int32)
    return weights, start[:, np.newaxis]


def _real(taps: Taps, around: float) -> tuple[list[Any], Any]:
    return [weight[:, np.newaxis] for weight in taps.weights], (taps.beyond * around)[:, np.newaxis]


def fitted(old: tuple[int, int], new: tuple[int, int]) -> tuple[float, float, float, float]:
    """Where a picture of size ``old`` lies when it is fitted whole into the middle of ``new``: top, left, height, width."""
    ratio = min(new[0] / old[0], new[1] / old[1])
    height, width = old[0] * ratio, old[1] * ratio
    return (new[0] - height) / 2, (new[1] - width) / 2, height, width
