"""From numbers to places along an axis, with round numbers at its ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LOG_FROM = 12.0
"""Positive values whose ends are further apart than this many times get a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class Axis:
    """``ticks`` lie within ``low`` and ``high``."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def at(self, value: float) -> float:
        """0 at the low end, 1 at the high end; what lies beyond is put on the end."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, self.low))
        return min(max((value - low) / (high - low), 0.0), 1.0)


def axis(values: Sequence[float], *, zero: bool = False, spread: bool = False, ticks: int = 5) -> Axis:
    """Around ``values``, which must be finite: from ``zero`` where asked; logarithmic where they ``spread`` over more than a decade."""
    low, high = min(values), max(values)
    if spread and low > 0 and high / low > LOG_FROM:
        return Axis(low / 1.3, high * 1.3, _decades(low / 1.3, high * 1.3), log=True)
    margin = max((high - low) * 0.08, abs(high) * 0.004, 1e-9)
    low, high = (min(0.0, low) if zero else low - margin), high + margin
    step = _round_step((high - low) / ticks)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Axis(low, high, tuple(round(at * step, 12) for at in range(first, last + 1)))


def tick_text(value: float) -> str:
    """Short, without a needless exponent."""
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.2g}"
    return f"{value:.6f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:.0f}"


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= rough * 0.999)


def _decades(low: float, high: float) -> tuple[float, ...]:
    decades = math.log10(high) - math.log10(low)  # the quotient of the largest and the smallest float overflows
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1, max(math.ceil(decades / 8), 1))
    factors = (1, 2, 5) if decades < 3 else (1,)
    return tuple(factor * 10.0**power for power in powers for factor in factors if low <= factor * 10.0**power <= high)
