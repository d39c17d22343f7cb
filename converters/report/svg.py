"""A drawing as inline SVG. Colours come from the page's style sheet, so that they follow light, dark and paper."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from converters.report.drawing import Drawing, Line, Mark, Shape, Text


def svg(drawing: Drawing) -> str:
    """One ``svg`` element with its text alternative."""
    body = "".join(_shape(shape) for shape in drawing.shapes)
    return (
        f'<svg viewBox="0 0 {drawing.width:g} {drawing.height:g}" role="img" aria-label="{escape(drawing.title)}">'
        f"<title>{escape(drawing.title)}</title>{body}</svg>"
    )


def mark(kind: str, x: float, y: float, inside: str = "") -> str:
    """The sign of one kind of candidate: told apart by shape as well as by colour."""
    if kind == "refused":
        path = f"M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10"
    elif kind == "source":
        path = f"M{x - 5:.1f} {y - 5:.1f}h10v10h-10z"
    elif kind == "chosen":
        path = f"M{x:.1f} {y - 8.5:.1f}l8.5 8.5l-8.5 8.5l-8.5 -8.5z"
    else:
        path = f"M{x - 5:.1f} {y:.1f}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z"
    return f'<path class="m {kind}" d="{path}">{inside}</path>'


def legend(signs: Sequence[tuple[str, str]]) -> str:
    """Each sign, 18 by 18, with its words."""
    items = "".join(f'<li><svg viewBox="0 0 18 18" aria-hidden="true">{sign}</svg>{escape(words)}</li>' for sign, words in signs)
    return f'<ul class="legend">{items}</ul>'


def _shape(shape: Shape) -> str:
    if isinstance(shape, Line):
        spots = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.spots)
        return f'<polyline class="{shape.kind}" points="{spots}"/>'
    if isinstance(shape, Mark):
        return mark(shape.kind, shape.x, shape.y, f"<title>{escape(shape.title)}</title>")
    return _text(shape)


def _text(shape: Text) -> str:
    place = f'transform="translate({shape.x:.1f} {shape.y:.1f}) rotate(-90)"' if shape.turned else f'x="{shape.x:.1f}" y="{shape.y:.1f}"'
    return f'<text class="{shape.kind}" {place} text-anchor="{shape.anchor}">{escape(shape.text)}</text>'
