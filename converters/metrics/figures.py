"""What every kind of comparison gives, and intervals by resampling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 400
_TAILS = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Threshold:
    """An alarm's limit for the original, and the limit that lets the candidate alarm on as many samples; ``alarms`` is their share."""

    declared: float
    derived: float
    alarms: float


@dataclass(frozen=True, slots=True)
class Figures:
    """``name`` says what ``before`` and ``after`` count, 1 being perfect. ``drop`` is what is lost, with its 95 % interval; ``labelled``
    whether truth was known, else the original was the measure."""

    name: str
    before: float | None
    after: float | None
    drop: float
    drop_low: float
    drop_high: float
    labelled: bool
    agreement: float | None = None
    threshold: Threshold | None = None


def resampled(drop: Callable[[Any], float], count: int) -> tuple[float, float]:
    """95 % interval of ``drop`` (of row numbers) over samples drawn again with replacement (Efron and Tibshirani 1993, percentile
    bootstrap), seeded."""
    random = np.random.default_rng(count)
    values = [drop(random.integers(0, count, count)) for _ in range(RESAMPLES)]
    low, high = np.percentile([value for value in values if np.isfinite(value)] or [np.inf], _TAILS)
    return float(low), float(high)
