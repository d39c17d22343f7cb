"""95 % intervals of shares."""

from __future__ import annotations

import math

_Z = 1.959963984540054  # two-sided 95 % of the normal distribution


def paired_interval(lost: int, won: int, count: int) -> tuple[float, float]:
    """95 % interval of (lost - won) / count for paired yes/no answers.

    Source: Agresti and Min 2005, "Simple improved confidence intervals for comparing matched proportions" (Wald with half a count added
    to each of the four cells).
    """
    lost_, won_, total = lost + 0.5, won + 0.5, count + 2.0
    middle = (lost_ - won_) / total
    spread = math.sqrt(max(lost_ + won_ - (lost_ - won_) ** 2 / total, 0.0)) / total
    return max(middle - _Z * spread, -1.0), min(middle + _Z * spread, 1.0)


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927, score interval)."""
    share, square = hits / count, _Z * _Z / count
    middle = (share + square / 2) / (1 + square)
    spread = _Z * math.sqrt(share * (1 - share) / count + square / count / 4) / (1 + square)
    return max(middle - spread, 0.0), min(middle + spread, 1.0)
