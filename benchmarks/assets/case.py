"""What one asset is asked for, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.assets.stand import Stand


@dataclass(frozen=True, slots=True)
class Refused:
    """No figure, since no device can run the model, and the engine said so: ``reason``. ``value`` is what the others of a set gave, of
    which ``count`` were refused."""

    reason: str
    value: float | None = None
    count: int = 0


Figure = float | Refused
Figures = Mapping[str, Figure]
"""By the very name that the asset's check prints."""


@dataclass(frozen=True, slots=True)
class Case:
    """An asset's ``folder``, and what takes its figures through a stand. ``quick`` where seconds are enough. ``apart`` are figures of the
    check that no engine has a part in, or that say what a wrong one would give."""

    folder: str
    run: Callable[[Stand, Path], Figures]
    quick: bool = True
    apart: tuple[str, ...] = ()


def scores(lines: list[dict[str, Any]]) -> Any:
    """(windows, classes)."""
    return np.array([line["scores"] for line in lines])


def rows(array: Any) -> Any:
    """One sample a row, whatever its shape."""
    return np.asarray(array).reshape(len(array), -1)


def pictures(paths: list[Path]) -> Any:
    """(n, height, width, 3) of bytes; all of one size."""
    from PIL import Image

    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
