"""How far a candidate is from the float original on the evaluation samples. Pure numbers; what they mean is the gate's business."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from converters.workshop import Proof

CONFIDENCE = 0.95
_Z = 1.959963984540054  # two-sided 95 % of the normal distribution


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A sample whose class differs between original and candidate; ``truth`` is empty without labels."""

    row: int
    original: str
    candidate: str
    truth: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """``drop`` is the share of right answers lost (with labels) or a bound on it (without); ``drop_low``, ``drop_high`` its 95 % interval.

    ``commonest`` is the share of right answers that always naming the commonest class would give.
    ``drop``, ``agreement`` and the accuracies are ``None`` where they do not apply. ``max_abs_error`` and ``sqnr_db`` compare raw outputs.
    """

    metric: str
    samples: int
    max_abs_error: float
    sqnr_db: float
    finite: bool
    labelled: bool = False
    original_accuracy: float | None = None
    commonest: float | None = None
    accuracy: float | None = None
    agreement: float | None = None
    drop: float | None = None
    drop_low: float | None = None
    drop_high: float | None = None
    disagreements: tuple[Disagreement, ...] = ()


def evaluate(
    original: Proof,
    candidate: Proof,
    rows: Sequence[int],
    metric: str,
    classes: tuple[Sequence[str], Sequence[str]],
    truth: Sequence[str] | None,
) -> Evaluation:
    """``classes`` are the decisions on the original's and the candidate's outputs, ``truth`` the labels, both only for metric top1."""
    finite = all(bool(np.isfinite(array).all()) for array in candidate.values.values() if array.dtype.kind == "f")
    largest, sqnr_db = distance(original, candidate)
    raw = Evaluation("error", len(rows), largest, sqnr_db, finite)
    if metric != "top1":
        return raw
    before, after = classes
    differing = tuple(
        Disagreement(row, a, b, truth[i] if truth else "") for i, (row, a, b) in enumerate(zip(rows, before, after, strict=True)) if a != b
    )
    agreement = 1.0 - len(differing) / len(rows)
    counted = replace(raw, metric="top1", agreement=agreement, disagreements=differing)
    if truth is None:
        low, high = wilson(len(differing), len(rows))
        return replace(counted, drop=len(differing) / len(rows), drop_low=low, drop_high=high)
    lost = sum(a == t != b for a, b, t in zip(before, after, truth, strict=True))
    won = sum(b == t != a for a, b, t in zip(before, after, truth, strict=True))
    low, high = paired_interval(lost, won, len(rows))
    return replace(
        counted,
        labelled=True,
        original_accuracy=_share(before, truth),
        commonest=Counter(truth).most_common(1)[0][1] / len(truth),
        accuracy=_share(after, truth),
        drop=(lost - won) / len(rows),
        drop_low=low,
        drop_high=high,
    )


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


def _share(given: Sequence[str], truth: Sequence[str]) -> float:
    return sum(a == t for a, t in zip(given, truth, strict=True)) / len(truth)


def distance(original: Proof, candidate: Proof) -> tuple[float, float]:
    """Largest absolute difference, and signal to noise in dB over all outputs; integers are made real first."""
    largest, signal, noise = 0.0, 0.0, 0.0
    for before, after in zip(original.outputs, candidate.outputs, strict=True):
        left, right = _real(original.values[before.name], before), _real(candidate.values[after.name], after)
        if left.shape != right.shape:
            return math.inf, -math.inf
        with np.errstate(invalid="ignore", over="ignore"):
            difference = np.abs(left - right)
        largest = max(largest, float(difference.max(initial=0.0)))
        signal += float(np.square(left).sum())
        noise += float(np.square(difference).sum())
    if not math.isfinite(noise):
        return math.inf, -math.inf
    return largest, 10 * math.log10(max(signal, 1e-30) / max(noise, 1e-30 + signal * 1e-20))


def _real(array: Any, spec: Any) -> Any:
    values = array.astype(np.float64)
    return values if spec.scale is None else (values - (spec.zero_point or 0)) * spec.scale
