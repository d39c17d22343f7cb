"""How far a candidate is from the float original on the evaluation samples. Pure numbers; what they mean is the gate's business."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from converters.distance import OutputNoise, distance, each_output
from converters.metrics.figures import Figures, Threshold
from converters.metrics.intervals import paired_interval, wilson
from converters.workshop import Proof

CONFIDENCE = 0.95


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

    ``measure`` names what ``original_accuracy`` and ``accuracy`` are, 1 being perfect; ``threshold`` is an alarm's, where there is one.
    ``commonest`` is the share of right answers that always naming the commonest class would give; without labels the original's.
    ``drop``, ``agreement`` and the accuracies are ``None`` where they do not apply. ``max_abs_error`` and ``sqnr_db`` (of the worst output)
    compare raw outputs, ``outputs`` each of them; ``unmeasured`` are those that the metric does not look at.
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
    measure: str = "accuracy"
    threshold: Threshold | None = None
    outputs: tuple[OutputNoise, ...] = ()
    unmeasured: tuple[OutputNoise, ...] = ()


def evaluate(
    original: Proof,
    candidate: Proof,
    rows: Sequence[int],
    metric: str,
    classes: tuple[Sequence[str], Sequence[str]],
    truth: Sequence[str] | None,
    figures: Figures | None = None,
    measured: str | None = None,
) -> Evaluation:
    """``classes`` are the decisions on the original's and the candidate's outputs, ``truth`` the labels, both only for metric top1;
    ``figures`` what a model of another kind loses by its own measure. ``measured`` is the one output that the metric looks at, where
    somebody may read the others too."""
    finite = all(bool(np.isfinite(array).all()) for array in candidate.values.values() if array.dtype.kind == "f")
    largest, sqnr_db = distance(original, candidate)
    outputs = each_output(original, candidate)
    unmeasured = tuple(noise for noise in outputs if metric != "error" and measured not in (None, noise.name))
    raw = Evaluation("error", len(rows), largest, sqnr_db, finite, outputs=outputs, unmeasured=unmeasured)
    if figures is not None:
        return replace(
            raw,
            metric=metric,
            measure=figures.name,
            labelled=figures.labelled,
            original_accuracy=figures.before,
            accuracy=figures.after,
            agreement=figures.agreement,
            drop=figures.drop,
            drop_low=figures.drop_low,
            drop_high=figures.drop_high,
            threshold=figures.threshold,
        )
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
        return replace(counted, commonest=_commonest(before), drop=len(differing) / len(rows), drop_low=low, drop_high=high)
    lost = sum(a == t != b for a, b, t in zip(before, after, truth, strict=True))
    won = sum(b == t != a for a, b, t in zip(before, after, truth, strict=True))
    low, high = paired_interval(lost, won, len(rows))
    return replace(
        counted,
        labelled=True,
        original_accuracy=_share(before, truth),
        commonest=_commonest(truth),
        accuracy=_share(after, truth),
        drop=(lost - won) / len(rows),
        drop_low=low,
        drop_high=high,
    )


def _commonest(classes: Sequence[str]) -> float:
    return Counter(classes).most_common(1)[0][1] / len(classes)


def _share(given: Sequence[str], truth: Sequence[str]) -> float:
    return sum(a == t for a, t in zip(given, truth, strict=True)) / len(truth)
