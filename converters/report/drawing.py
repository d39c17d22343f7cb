"""A picture as a list of shapes: one description, painted as SVG on the page and as pixels in the PNG."""

from __future__ import annotations

from dataclasses import dataclass

Spot = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """``kind`` is grid, axis, limit, front, family, leader, whisker."""

    kind: str
    spots: tuple[Spot, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """``kind`` is source, chosen, passed, untimed or refused; ``title`` says what it stands for. ``x``, ``y`` are its centre."""

    kind: str
    x: float
    y: float
    title: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """``kind`` is tick, axis, number, note, head or small; ``anchor`` start, middle or end; ``y`` is the baseline. A ``turned`` text reads
    upwards."""

    kind: str
    x: float
    y: float
    text: str
    anchor: str = "start"
    turned: bool = False


Shape = Line | Mark | Text


@dataclass(frozen=True, slots=True)
class Drawing:
    """Pixels from the top left; ``title`` says in words what can be seen."""

    width: float
    height: float
    shapes: tuple[Shape, ...]
    title: str
