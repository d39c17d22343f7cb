"""What every pass says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from converters.model import Graph


@dataclass(frozen=True, slots=True)
class Pass:
    """``apply`` is pure and gives the very same graph back when it finds nothing to do.

    ``requires`` and ``ensures`` are words about the graph; a pass runs only when all it requires holds. ``equivalent`` passes keep
    every output (up to rounding); others are approximations and must be measured.
    """

    name: str
    apply: Callable[[Graph], Graph]
    requires: frozenset[str] = frozenset()
    ensures: frozenset[str] = frozenset()
    equivalent: bool = True
