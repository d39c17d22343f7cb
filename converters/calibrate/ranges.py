"""Ranges of tensors over the calibration samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class RangeTable:
    """Smallest and largest value of each tensor in each sample: ``low`` and ``high`` are float32 (samples, tensors), ``rows`` says which
    row of the samples file each one was."""

    names: tuple[str, ...]
    rows: tuple[int, ...]
    low: Any
    high: Any


@dataclass(frozen=True, slots=True)
class Rejected:
    """A calibration sample left out: its widest range, in ``tensor``, is ``ratio`` times the median sample's."""

    row: int
    tensor: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """One range for each tensor, from the samples that were kept; ``note`` says what was unusual. ``means`` has, for the tensors that
    layers read, the mean of each channel over these samples (float64)."""

    ranges: Mapping[str, Range]
    rejected: tuple[Rejected, ...]
    used: int
    note: str = ""
    means: Mapping[str, Any] = field(default_factory=dict, compare=False)
