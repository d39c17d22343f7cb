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

_FILTERS: Mapping[str, tuple[float, Callable[[float], float]]] = {
    "bilinear": (1.0, lambda x: max(1.0 - abs(x), 0.0)),
    "area": (0.5, lambda x: 1.0 if -0.5 < x <= 0.5 else 0.0),
}
METHODS = ("bilinear", "nearest", "area")


@dataclass(frozen=True, slots=True)
class Taps:
    """For each of ``count`` new positions along one axis: tap k reads old position ``places[k]`` with weight ``weights[k]``."""

    places: tuple[Any, ...]
    weights: tuple[Any, ...]


def taps_for(method: str, old: int, new: int, *, antialias: bool) -> Taps:
    """Weights as Pillow's ``precompute_coeffs``; without ``antialias`` the filter keeps its width where a picture shrinks (two taps)."""
    reach, weigh = _FILTERS[method]
    step = old / new
    wide = max(step, 1.0) if antialias or method == "area" else 1.0
    rows = [_weights(weigh, (at + 0.5) * step, reach * wide, wide, old) for at in range(new)]
    most = max(len(weights) for _, weights in rows)
    places = np.zeros((most, new), np.intp)
    weights = np.zeros((most, new), np.float64)
    for at, (first, row) in enumerate(rows):
        count = len(row)
        places[:, at] = np.minimum(first + np.arange(most), first + count - 1)  # the rest has weight 0
        weights[:count, at] = row
    return Taps(tuple(places), tuple(weights))


def _weights(weigh: Callable[[float], float], centre: float, support: float, wide: float, old: int) -> tuple[int, list[float]]:
    first = max(int(centre - support + 0.5), 0)
    last = min(int(centre + support + 0.5), old)
    row = [weigh((at - centre + 0.5) * (1.0 / wide)) for at in range(first, last)]
    total = sum(row)
    return first, [weight / total for weight in row] if total else row


def nearest_places(old: int, new: int) -> Any:
    """The old position in whose half-open cell the centre of each new one lies; summed step by step, as Pillow's Geometry.c does it,
    so that centres on an edge fall to the same side."""
    steps = np.full(new, old / new)
    steps[0] /= 2
    return np.minimum(np.add.accumulate(steps).astype(np.intp), old - 1)


class Resampler:
    """Resizes pictures (height, width) or (height, width, colours) to ``size``. The tables are kept for the next picture of that shape."""

    def __init__(self, size: tuple[int, int], method: str, *, antialias: bool) -> None:
        self._size, self._method, self._antialias = size, method, antialias
        self._known: tuple[tuple[int, ...], Any, Any] = ((), None, None)

    def __call__(self, picture: Any) -> Any:
        """The picture in its element type. Raises ValueError for sides beyond ``MAX_SIDE``."""
        if max(picture.shape[:2]) > MAX_SIDE or not picture.size:
            raise ValueError(f"a picture has sides of 1 to {MAX_SIDE}")
        if picture.shape[:2] == self._size:
            return picture
        shape, down, across = self._known
        if shape != picture.shape[:2]:
            down, across = (self._table(old, new) for old, new in zip(picture.shape, self._size, strict=False))
            self._known = (picture.shape[:2], down, across)
        if self._method == "nearest":
            return picture[down][:, across]
        return _pass(_pass(picture.swapaxes(0, 1), across).swapaxes(0, 1), down)

    def _table(self, old: int, new: int) -> Any:
        if self._method == "nearest":
            return nearest_places(old, new)
        return None if old == new else taps_for(self._method, old, new, antialias=self._antialias)


def _pass(picture: Any, taps: Taps | None) -> Any:
    """Along the first axis."""
    if taps is None:
        return picture
    rows = np.ascontiguousarray(picture)
    flat = rows.reshape(len(rows), -1)
    summed = _whole_sum(flat, taps) if picture.dtype == np.uint8 else _real_sum(flat, taps)
    return summed.reshape(summed.shape[0], *picture.shape[1:])


def _whole_sum(rows: Any, taps: Taps) -> Any:
    count = len(taps.places[0])
    total = np.full((count, rows.shape[1]), 1 << (PLACES - 1), np.int32)
    part = np.empty_like(total)
    for places, weights in zip(taps.places, taps.weights, strict=True):
        whole = np.floor(0.5 + weights * (1 << PLACES)).astype(np.int32)[:, np.newaxis]  # no filter here has weights below 0
        np.multiply(rows[places], whole, out=part, dtype=np.int32)
        total += part
    total >>= PLACES
    return np.minimum(total, 255, out=total).astype(np.uint8)


def _real_sum(rows: Any, taps: Taps) -> Any:
    total = np.zeros((len(taps.places[0]), rows.shape[1]), np.float64)
    for places, weights in zip(taps.places, taps.weights, strict=True):
        total += rows[places] * weights[:, np.newaxis]
    return total.astype(np.float32)


def fitted(old: tuple[int, int], new: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where a picture of size ``old`` lies when it is fitted whole and centred into ``new``: (top, left, height, width), rounded."""
    ratio = min(new[0] / old[0], new[1] / old[1])
    height, width = (max(1, min(most, math.floor(side * ratio + 0.5))) for side, most in zip(old, new, strict=True))
    return (new[0] - height) // 2, (new[1] - width) // 2, height, width
