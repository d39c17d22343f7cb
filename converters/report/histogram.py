"""Two distributions over each other, with alarm limits where there are any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from converters.report.scales import axis, tick_text

_WIDTH, _HEIGHT = 480.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 14.0, 20.0, 44.0


def histogram(scores: Mapping[str, Any], limits: Sequence[tuple[str, float]], title: str) -> str:
    """``scores`` has ``edges`` (ascending, one more than the counts), ``original`` and ``candidate``; ``limits`` are class and place."""
    edges, before, after = scores["edges"], scores["original"], scores["candidate"]
    low, high = edges[0], edges[-1]
    up = axis([0.0, max([*before, *after, 1])], zero=True, ticks=4)
    across = axis([low, high])
    spot = _Spots(low, high, up.high)
    parts = [f'<polyline class="grid" points="{_LEFT},{spot.y(v):.1f} {_WIDTH - _RIGHT},{spot.y(v):.1f}"/>' for v in up.ticks]
    parts += [_text("tick", _LEFT - 6, spot.y(v) + 4, tick_text(v), "end") for v in up.ticks]
    parts += [_text("tick", spot.x(v), _HEIGHT - _BOTTOM + 16, tick_text(v), "middle") for v in across.ticks if low <= v <= high]
    for at, number in enumerate(before):
        left, right, top = spot.x(edges[at]), spot.x(edges[at + 1]), spot.y(number)
        parts.append(
            f'<rect class="before" x="{left:.1f}" y="{top:.1f}" width="{max(right - left - 1, 0.5):.1f}" height="{spot.y(0) - top:.1f}"/>'
        )
    outline = [(edges[0], 0), *((edges[at + side], number) for at, number in enumerate(after) for side in (0, 1)), (edges[-1], 0)]
    parts.append('<polyline class="after" points="' + " ".join(f"{spot.x(x):.1f},{spot.y(y):.1f}" for x, y in outline) + '"/>')
    for name, value in limits:
        if low <= value <= high:
            parts.append(f'<polyline class="{name}" points="{spot.x(value):.1f},{_TOP} {spot.x(value):.1f},{_HEIGHT - _BOTTOM}"/>')
    parts.append(_text("axis", (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, scores["what"], "middle"))
    parts.append(_text("axis", _LEFT, 12, scores.get("unit", "samples"), "middle"))
    said = escape(title)
    return f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{said}"><title>{said}</title>{"".join(parts)}</svg>'


class _Spots:
    """Places of values in the picture."""

    def __init__(self, low: float, high: float, most: float) -> None:
        self._low, self._span, self._most = low, (high - low) or 1.0, most

    def x(self, value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (value - self._low) / self._span

    def y(self, number: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * number / self._most


def _text(kind: str, x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
