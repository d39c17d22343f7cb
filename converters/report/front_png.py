"""The Pareto front as a PNG of 1200 by 750 pixels, for reviews and tickets that take no HTML."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from converters.report.drawing import Drawing, Line, Mark, Spot, Text
from converters.report.front import front
from converters.report.measure import kind, title
from converters.report.png import png
from converters.report.raster import Canvas, Colour, dashed, text_width

WIDTH, HEIGHT = 1200, 750
_INK, _SOFT, _PALE, _WHITE = (27, 31, 36), (87, 96, 108), (226, 230, 235), (255, 255, 255)
_BLUE, _GREEN, _GREY, _RED = (37, 99, 201), (19, 122, 70), (119, 128, 140), (189, 49, 36)
_COLOURS: Mapping[str, Colour] = MappingProxyType(
    {"source": _GREY, "chosen": _GREEN, "passed": _BLUE, "untimed": _BLUE, "refused": _RED, "limit": _RED, "front": _GREEN, "family": _GREY}
)
_LINES: Mapping[str, tuple[Colour, float, tuple[float, float] | None]] = MappingProxyType(
    {
        "grid": (_PALE, 1.0, None),
        "axis": (_GREY, 1.3, None),
        "front": (_GREEN, 2.4, None),
        "family": (_GREY, 1.2, (2.0, 4.0)),
        "limit": (_RED, 1.5, (7.0, 5.0)),
        "leader": (_GREY, 1.0, None),
    }
)
_LEGEND = (("source", "original"), ("chosen", "chosen"), ("passed", "passed"), ("untimed", "passed, not timed"), ("refused", "refused"))
_LEGEND_LINES = (("front", "the front"), ("family", "one scheme, pruned"), ("limit", "least allowed"))
_SCALE = 1.22
_KEY_ROWS, _KEY_COLUMNS, _KEY_TOP, _KEY_STEP = 8, 3, 604, 18.0


def front_png(tree: Mapping[str, Any]) -> bytes | None:
    """The picture of a report tree; ``None`` where no candidate gave answers to compare. The same tree gives the same bytes."""
    latency = front(tree, "latency", 585 / _SCALE, 440 / _SCALE)
    size = front(tree, "size", (585 if latency else 1180) / _SCALE, 440 / _SCALE)
    if size is None:
        return None
    canvas = Canvas(WIDTH, HEIGHT)
    _heading(canvas, tree)
    _draw(canvas, size, (8.0, 84.0))
    if latency is not None:
        _draw(canvas, latency, (605.0, 84.0))
    _legend(canvas, tree)
    _key(canvas, tree)
    return png(canvas.pixels())


def _heading(canvas: Canvas, tree: Mapping[str, Any]) -> None:
    canvas.text((28, 42), _cut(f"{title(tree)}, for {', '.join(tree['profiles'])}", 23, 1140), 23, _INK, bold=True)
    chosen = f"chosen: {tree['chosen']}" if tree["chosen"] else "refused: no candidate passed"
    here = tree.get("measured_on")
    clock = f"; latencies are of this {here['machine']} machine, not of the board" if here else ""
    canvas.text((28, 68), _cut(f"{chosen}; {tree['evaluation_samples']} samples{clock}", 15, 1140), 15, _GREEN if tree["chosen"] else _RED)


def _draw(canvas: Canvas, drawing: Drawing, corner: Spot) -> None:
    def at(x: float, y: float) -> Spot:
        return corner[0] + x * _SCALE, corner[1] + y * _SCALE

    for shape in drawing.shapes:
        if isinstance(shape, Line):
            _line(canvas, shape.kind, [_crisp(at(x, y)) if shape.kind in ("grid", "axis", "limit") else at(x, y) for x, y in shape.spots])
        elif isinstance(shape, Mark):
            _mark(canvas, shape.kind, *at(shape.x, shape.y))
        else:
            _words(canvas, shape, at(shape.x, shape.y))


def _line(canvas: Canvas, name: str, spots: list[Spot]) -> None:
    colour, width, dash = _LINES[name]
    canvas.lines(dashed(spots, *dash) if dash else [spots], colour, width)


def _words(canvas: Canvas, shape: Text, spot: Spot) -> None:
    colour = _INK if shape.kind == "number" else _COLOURS.get(shape.kind, _SOFT)
    number = shape.kind == "number"
    canvas.text(spot, shape.text, 11.5 * _SCALE, colour, anchor=shape.anchor, bold=number, halo=number, turned=shape.turned)


def _mark(canvas: Canvas, name: str, x: float, y: float) -> None:
    """The shapes of the page, each with a white edge that keeps it apart from what it lies over."""
    colour = _COLOURS[name]
    if name == "refused":
        cross = [[(x - 5, y - 5), (x + 5, y + 5)], [(x - 5, y + 5), (x + 5, y - 5)]]
        canvas.lines(cross, _WHITE, 4.5)
        canvas.lines(cross, colour, 2.6)
    elif name in ("source", "chosen"):
        for reach, paint in ((2.0, _WHITE), (0.0, colour)):
            canvas.polygon(_square(x, y, 5.5 + reach * 0.7) if name == "source" else _diamond(x, y, 9.5 + reach), paint)
    else:
        canvas.disc(x, y, 7.2, _WHITE)
        canvas.disc(x, y, 5.9, colour)
        if name == "untimed":
            canvas.disc(x, y, 3.6, _WHITE)


def _legend(canvas: Canvas, tree: Mapping[str, Any]) -> None:
    there = {kind(tree, item) for item in tree["candidates"]} | {"source"}
    x, y = 34.0, 560.0
    for name, words in _LEGEND:
        if name in there:
            _mark(canvas, name, x, y - 5)
            canvas.text((x + 15, y), words, 14, _SOFT)
            x += 15 + text_width(words, 14) + 34
    pruned = any(item["variant"].startswith("pruned") for item in tree["candidates"])
    for name, words in _LEGEND_LINES:
        if name == "family" and not pruned:
            continue
        _line(canvas, name, [(x - 8, y - 5), (x + 18, y - 5)])
        canvas.text((x + 26, y), words, 14, _SOFT)
        x += 26 + text_width(words, 14) + 34


def _key(canvas: Canvas, tree: Mapping[str, Any]) -> None:
    """Which number is which candidate, by column; what does not fit is counted."""
    items, room = tree["candidates"], _KEY_ROWS * _KEY_COLUMNS
    rows = max(-(-min(len(items), room) // _KEY_COLUMNS), 1)
    canvas.lines([[(28, 576.5), (WIDTH - 28, 576.5)]], _PALE, 1.0)
    left = len(items) - room + 1 if len(items) > room else 0
    for at, item in enumerate(items[: len(items) - left]):
        x, y = 28 + 388.0 * (at // rows), _KEY_TOP + _KEY_STEP * (at % rows)
        state = kind(tree, item)
        canvas.text((x + 22, y), str(at + 1), 14, _INK, anchor="end", bold=True)
        canvas.text((x + 32, y), _cut(item["label"], 14, 340), 14, _COLOURS[state] if state in ("chosen", "refused") else _INK)
    if left:
        x, y = 28 + 388.0 * (_KEY_COLUMNS - 1), _KEY_TOP + _KEY_STEP * (rows - 1)
        canvas.text((x + 32, y), f"and {left} more, in the report", 14, _SOFT)


def _cut(text: str, size: float, most: float) -> str:
    """At most ``most`` pixels wide."""
    if text_width(text, size) <= most:
        return text
    while text and text_width(f"{text}…", size) > most:
        text = text[:-1]
    return f"{text}…"


def _crisp(spot: Spot) -> Spot:
    """On a pixel's centre, so that thin straight lines are not blurred."""
    return int(spot[0]) + 0.5, int(spot[1]) + 0.5


def _square(x: float, y: float, reach: float) -> tuple[Spot, ...]:
    return (x - reach, y - reach), (x + reach, y - reach), (x + reach, y + reach), (x - reach, y + reach)


def _diamond(x: float, y: float, reach: float) -> tuple[Spot, ...]:
    return (x, y - reach), (x + reach, y), (x, y + reach), (x - reach, y)
