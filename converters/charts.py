"""Small charts as inline SVG. Colours come from the page's style sheet, so that they follow light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 560, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 16, 44


@dataclass(frozen=True, slots=True)
class Point:
    """``kind`` is a class of the style sheet: source, chosen, passed or refused."""

    label: str
    x: float
    y: float
    kind: str


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    value: float
    text: str
    kind: str


def scatter(points: Sequence[Point], x_title: str, y_title: str) -> str:
    """Points with their names; both axes begin and end a little beyond the data."""
    x_low, x_high = _span([p.x for p in points], floor=0.0)
    y_low, y_high = _span([p.y for p in points])
    parts = [_frame(x_title, y_title)]
    for step in range(5):
        part = step / 4
        y = _y(part)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text("tick", _LEFT - 8, y + 4, _number(y_low + part * (y_high - y_low)), "end"))
        parts.append(_text("tick", _x(part), HEIGHT - _BOTTOM + 18, _number(x_low + part * (x_high - x_low)), "middle"))
    taken: list[tuple[float, float]] = []
    for point in points:
        x, y = _x((point.x - x_low) / (x_high - x_low)), _y((point.y - y_low) / (y_high - y_low))
        label_y = y - 10
        while any(abs(label_y - other_y) < 13 and abs(x - other_x) < 110 for other_x, other_y in taken):
            label_y += 14
        taken.append((x, label_y))
        parts.append(f'<circle class="{point.kind}" cx="{x:.1f}" cy="{y:.1f}" r="6"><title>{escape(point.label)}</title></circle>')
        beyond = x > WIDTH * 0.75
        parts.append(_text("name", x - 10 if beyond else x + 10, label_y, point.label, "end" if beyond else "start"))
    return _svg(HEIGHT, parts, f"{y_title} against {x_title}")


def bars(items: Sequence[Bar], title: str) -> str:
    """Horizontal bars from zero."""
    longest = max((item.value for item in items), default=1.0) or 1.0
    parts, room = [], WIDTH - 150 - 110
    for row, item in enumerate(items):
        y, width = 10 + row * 30, max(room * item.value / longest, 1.0)
        parts.append(f'<text class="name" x="142" y="{y + 14}" text-anchor="end">{escape(item.label)}</text>')
        parts.append(f'<rect class="{item.kind}" x="150" y="{y}" width="{width:.1f}" height="20" rx="3"/>')
        parts.append(f'<text class="tick" x="{150 + width + 8:.1f}" y="{y + 14}">{escape(item.text)}</text>')
    return _svg(20 + 30 * len(items), parts, title)


def spans(ranges: Sequence[tuple[str, float, float]], title: str) -> str:
    """Intervals around a common zero, one a row."""
    reach = max((max(abs(low), abs(high)) for _, low, high in ranges), default=1.0) or 1.0
    middle, half = 360.0, 120.0
    parts = [f'<line class="grid" x1="{middle}" x2="{middle}" y1="4" y2="{12 + 20 * len(ranges)}"/>']
    for row, (name, low, high) in enumerate(ranges):
        y = 10 + row * 20
        left, right = middle + half * low / reach, middle + half * high / reach
        parts.append(
            f'<text class="tick" x="232" y="{y + 11}" text-anchor="end">{escape(_short(name))}<title>{escape(name)}</title></text>'
        )
        parts.append(f'<rect class="passed" x="{left:.1f}" y="{y + 2}" width="{max(right - left, 1):.1f}" height="10" rx="2"/>')
        parts.append(f'<text class="tick" x="{middle + half + 8}" y="{y + 11}">{_number(low)} … {_number(high)}</text>')
    return _svg(20 + 20 * len(ranges), parts, title, width=620)


def _frame(x_title: str, y_title: str) -> str:
    middle = (HEIGHT - _BOTTOM + _TOP) / 2
    return (
        f'<text class="axis" x="{(WIDTH + _LEFT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_title)}</text>'
        f'<text class="axis" transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(y_title)}</text>'
    )


def _text(kind: str, x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(height: float, parts: Sequence[str], title: str, *, width: int = WIDTH) -> str:
    body = "".join(parts)
    return f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{escape(title)}">{body}</svg>'


def _x(part: float) -> float:
    return _LEFT + part * (WIDTH - _LEFT - _RIGHT)


def _y(part: float) -> float:
    return HEIGHT - _BOTTOM - part * (HEIGHT - _BOTTOM - _TOP)


def _span(values: Sequence[float], floor: float | None = None) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = max((high - low) * 0.15, abs(high) * 0.005, 1e-9)
    return (low - margin if floor is None else min(floor, low)), high + margin


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _short(name: str) -> str:
    return name if len(name) <= 34 else f"…{name[-33:]}"
