"""One compiled step of preprocessing, and what the steps have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_VALUES = 1 << 24
"""Values in any array between two steps."""

Transform = Callable[[Any], Any]

MOVES, PICTURE, ALIKE, REAL = "moves", "picture", "alike", "real"


@dataclass(frozen=True, slots=True)
class Stage:
    """``run`` takes an array and gives one. ``kind`` says what it does to the values:

    ``moves``: puts the same values elsewhere, in any element type; ``picture``: makes pictures of pictures, bytes of bytes and float32 of
    float32; ``alike``: takes float32 (or narrow integers, whose values float32 holds) and does the same to every value, giving
    float32; ``real``: the same, but what becomes of a value depends on its place or on others.
    """

    run: Transform
    kind: str = REAL


@dataclass(frozen=True, slots=True)
class PlacedStage:
    """A stage and the name of its step in errors, such as ``preprocess[2] (resize)``."""

    where: str
    stage: Stage


def check_growth(count: int, most: int = MAX_VALUES) -> None:
    """Before a step that can make an array larger: a manifest must not be able to exhaust the memory of the device."""
    if count > most:
        raise ValueError(f"would give {count} values, at most {most} are allowed")
