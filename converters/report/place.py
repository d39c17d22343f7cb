"""Where the numbers of crowded points go: beside them, over nothing, the nearest free place first."""

from __future__ import annotations

import math
from collections.abc import Sequence

from converters.report.drawing import Spot

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

_RADII = (13.0, 18.0, 24.0, 32.0, 42.0, 54.0, 68.0, 84.0)
_TURNS = (1, 15, 5, 11, 3, 13, 0, 8, 4, 12, 2, 14, 6, 10, 7, 9)
_MARK = 6.5
_HIGH = 12.0


def place(marks: Sequence[Spot], widths: Sequence[float], room: Box, taken: Sequence[Box] = ()) -> tuple[Spot, ...]:
    """The centre of each mark's label, in order. ``widths`` are the labels' in pixels, ``taken`` boxes where no label may lie. Where all
    places are taken a label gets the one that covers least."""
    held = [*taken, *((x - _MARK, y - _MARK, x + _MARK, y + _MARK) for x, y in marks)]
    placed: list[Spot] = []
    for (x, y), width in zip(marks, widths, strict=True):
        best = _best(_places(x, y, width), width, held, room)
        placed.append(best)
        held.append(_box(best, width))
    return tuple(placed)


def _places(x: float, y: float, width: float) -> list[Spot]:
    """Around the mark on ellipses, above to the right first."""
    found = []
    for radius in _RADII:
        for turn in _TURNS:
            angle = turn * math.pi / 8
            found.append((x + (radius + width / 2 - 5) * math.cos(angle), y - radius * math.sin(angle)))
    return found


def _best(places: Sequence[Spot], width: float, held: Sequence[Box], room: Box) -> Spot:
    """The first that covers nothing, the nearest being first; else the one that covers least."""
    best, least = places[0], math.inf
    for spot in places:
        cost = _cost(_box(spot, width), held, room)
        if cost < 1e-6:
            return spot
        if cost < least:
            best, least = spot, cost
    return best


def _box(spot: Spot, width: float) -> Box:
    x, y = spot
    return x - width / 2 - 1, y - _HIGH / 2, x + width / 2 + 1, y + _HIGH / 2


def _cost(box: Box, held: Sequence[Box], room: Box) -> float:
    """Square pixels that the box covers or leaves the room by."""
    covered = sum(_shared(box, other) for other in held)
    return covered + (box[2] - box[0]) * (box[3] - box[1]) - _shared(box, room)


def _shared(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(high, 0.0)
