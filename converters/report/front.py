"""The Pareto front: answers against size, or against latency; every candidate a numbered mark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from converters.report.drawing import Drawing, Line, Mark, Shape, Spot, Text
from converters.report.measure import Measure, kind, measure
from converters.report.place import place
from converters.report.scales import Axis, axis, tick_text

_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 18.0, 22.0, 46.0
_DIGIT = 7.2


@dataclass(frozen=True, slots=True)
class _Point:
    """A candidate by ``number``, or the original (0); ``family`` is the scheme that its pruned forms share with it."""

    number: int
    label: str
    x: float
    y: float | None
    kind: str
    family: str = ""


def front(tree: Mapping[str, Any], by: str, width: float = 480, height: float = 330) -> Drawing | None:
    """``by`` is size or latency. ``None`` where there is nothing to draw."""
    found = measure(tree)
    points = _points(tree, found, by)
    if not any(point.number and point.y is not None for point in points):
        return None
    return _Sheet(points, found, by, width, height).drawing()


def untimed(tree: Mapping[str, Any]) -> tuple[int, ...]:
    """Numbers of the candidates that no latency can be shown of."""
    return tuple(at for at, item in enumerate(tree["candidates"], 1) if not item.get("latency_us"))


def _points(tree: Mapping[str, Any], found: Measure, by: str) -> list[_Point]:
    points = []
    for number, (item, y) in enumerate(zip(tree["candidates"], found.values, strict=True), 1):
        x = item["bytes"] / 1000 if by == "size" else _median(item)
        family = item["scheme"] if not item["kept_float"] and item["variant"][:6] in ("", "pruned") else ""
        if x is not None:
            points.append(_Point(number, item["label"], x, y, kind(tree, item), family))
    x = tree["source"]["bytes"] / 1000 if by == "size" else _median(tree["source"])
    if x is not None and found.original is not None:
        points.append(_Point(0, "original", x, found.original, "source"))
    return points


def _median(item: Mapping[str, Any]) -> float | None:
    held = item.get("latency_us")
    return None if held is None else float(held["median_us"])


class _Sheet:
    """One chart under way."""

    def __init__(self, points: Sequence[_Point], found: Measure, by: str, width: float, height: float) -> None:
        self._points, self._found, self._by = points, found, by
        self._width, self._height = width, height
        self._unit = "kB" if by == "size" else "µs"
        if by != "size" and max(point.x for point in points) >= 10_000:
            self._unit = "ms"
            self._points = [_Point(p.number, p.label, p.x / 1000, p.y, p.kind, p.family) for p in points]
        self._x = axis([point.x for point in self._points], zero=True, spread=True)
        self._y = _quality_axis(self._points, found)

    def drawing(self) -> Drawing:
        """Grid first, marks over the lines, numbers last."""
        shapes = [*self._frame(), *self._limit(), *self._families(), *self._front(), *self._marks(), *self._numbers()]
        shown = sum(bool(point.number) for point in self._points)
        title = f"{self._found.title} against {self._words()}: {shown} candidates, numbered as in the table"
        return Drawing(self._width, self._height, tuple(shapes), title)

    def _words(self) -> str:
        scale = ", logarithmic" if self._x.log else ""
        return f"{'model size' if self._by == 'size' else 'latency here'}, {self._unit}{scale}"

    def _frame(self) -> list[Shape]:
        bottom, right = self._height - _BOTTOM, self._width - _RIGHT
        shapes: list[Shape] = []
        for value in self._y.ticks:
            y = self._across(self._x.low, value)[1]
            shapes += [
                Line("grid", ((_LEFT, y), (right, y))),
                Text("tick", _LEFT - 7, y + 4, tick_text(value), "end"),
            ]
        for value in self._x.ticks:
            x = self._across(value, self._y.low)[0]
            shapes += [Line("grid", ((x, _TOP), (x, bottom))), Text("tick", x, bottom + 17, tick_text(value), "middle")]
        middle = (_TOP + bottom) / 2
        return [
            *shapes,
            Line("axis", ((_LEFT, _TOP), (_LEFT, bottom), (right, bottom))),
            Text("axis", (_LEFT + right) / 2, self._height - 8, self._words(), "middle"),
            Text("axis", 14, middle, self._found.title, "middle", turned=True),
        ]

    def _limit(self) -> list[Shape]:
        allowed = self._found.allowed
        if allowed is None or not self._y.low < allowed < self._y.high:
            return []
        y, right = self._across(self._x.low, allowed)[1], self._width - _RIGHT
        spots = [self._spot(point) for point in self._points]
        boxes = [(x, y + down) for down in (13, -6) for x in (right - 4, _LEFT + 80, (_LEFT + right) / 2)]
        free = [box for box in boxes if not any(box[0] - 84 < x < box[0] + 8 and box[1] - 18 < y < box[1] + 9 for x, y in spots)]
        x, below = (free or boxes)[0]
        return [Line("limit", ((_LEFT, y), (right, y))), Text("limit", x, below, "least allowed", "end")]

    def _families(self) -> list[Shape]:
        """A scheme and its pruned forms, connected from the smallest to the largest."""
        names = dict.fromkeys(point.family for point in self._points if point.family)
        groups = [sorted((p for p in self._points if p.family == name), key=lambda p: (p.x, p.number)) for name in names]
        return [Line("family", tuple(self._spot(point) for point in group)) for group in groups if len(group) > 1]

    def _front(self) -> list[Shape]:
        """A staircase through those that no other beats on these two axes: of the ones that passed, or of all where none did."""
        able = [p for p in self._points if p.number and p.y is not None and p.kind != "refused"]
        able = able or [p for p in self._points if p.number and p.y is not None]
        steps: list[Spot] = []
        best = -math.inf
        for point in sorted(able, key=lambda p: (p.x, -(p.y or 0.0), p.number)):
            if point.y is None or point.y <= best:
                continue
            x, y = self._spot(point)
            steps += [(x, steps[-1][1]), (x, y)] if steps else [(x, self._height - _BOTTOM), (x, y)]
            best = point.y
        return [Line("front", (*steps, (self._width - _RIGHT, steps[-1][1])))]

    def _marks(self) -> list[Shape]:
        ordered = sorted(self._points, key=lambda p: ("refused", "untimed", "passed", "source", "chosen").index(p.kind))
        return [Mark(p.kind, *self._spot(p), self._said(p)) for p in ordered]

    def _said(self, point: _Point) -> str:
        name = f"{point.number}: {point.label}" if point.number else point.label
        quality = "no number" if point.y is None else f"{point.y:.2f}"
        return f"{name}, {point.x:.4g} {self._unit}, {quality} ({self._found.title}), {point.kind}"

    def _numbers(self) -> list[Shape]:
        texts = [self._short(point) for point in self._points]
        spots = [self._spot(point) for point in self._points]
        room = (_LEFT + 2, 2.0, self._width - 2, self._height - _BOTTOM - 2)
        limits = [shape for shape in self._limit() if isinstance(shape, Text)]
        taken = [(shape.x - 76, shape.y - 11, shape.x, shape.y + 3) for shape in limits]
        taken += [_around(a, b) for line in self._front() if isinstance(line, Line) for a, b in pairwise(line.spots)]
        places = place(spots, [_DIGIT * len(text) for text in texts], room, taken)
        shapes: list[Shape] = []
        for text, spot, (x, y) in zip(texts, spots, places, strict=True):
            gap = math.dist(spot, (x, y))
            if gap > 12 + _DIGIT * len(text) / 2:
                shapes.append(Line("leader", (_toward(spot, (x, y), 7 / gap), _toward(spot, (x, y), 1 - 9 / gap))))
            shapes.append(Text("number", x, y + 4, text, "middle"))
        return shapes

    def _short(self, point: _Point) -> str:
        below = point.y is None or point.y < self._y.low
        return ("original" if not point.number else str(point.number)) + ("↓" if below else "")

    def _spot(self, point: _Point) -> Spot:
        return self._across(point.x, self._y.low if point.y is None else point.y)

    def _across(self, x: float, y: float) -> Spot:
        wide, high = self._width - _LEFT - _RIGHT, self._height - _TOP - _BOTTOM
        return _LEFT + wide * self._x.at(x), self._height - _BOTTOM - high * self._y.at(y)


def _quality_axis(points: Sequence[_Point], found: Measure) -> Axis:
    """Around what matters: a candidate that fell far below the limit lies on the lower edge and does not press the others together."""
    values = [point.y for point in points if point.y is not None]
    good = [point.y for point in points if point.y is not None and point.kind != "refused"] or values
    top = max(values)
    allowed = top if found.allowed is None or "dB" in found.title else found.allowed
    reach = max(3 * (top - min(*good, allowed, top)), 1e-3)
    kept = [value for value in values if value >= top - reach]
    return axis([*kept, allowed] if found.allowed is not None else kept)


def _around(a: Spot, b: Spot) -> tuple[float, float, float, float]:
    """The box of a line along an axis."""
    return min(a[0], b[0]) - 1.5, min(a[1], b[1]) - 1.5, max(a[0], b[0]) + 1.5, max(a[1], b[1]) + 1.5


def _toward(start: Spot, end: Spot, part: float) -> Spot:
    return start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1])
