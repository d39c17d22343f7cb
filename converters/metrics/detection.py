"""Detectors: which of the original's detections a candidate finds again, and what it finds beside them (F1, the original being truth)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.metrics.figures import Figures, resampled
from edge_agent.pipeline.boxes import overlap


def compare_detections(before: Sequence[Any], after: Sequence[Any], iou: float) -> Figures:
    """Detections of each sample (rows of corners, class, score). Without any detection at all nothing is lost."""
    counts = np.array([[_found_again(one, other, iou), len(one), len(other)] for one, other in zip(before, after, strict=True)])

    def drop(rows: Any) -> float:
        again, wanted, given = counts[rows].sum(axis=0)
        return 1 - 2 * again / (wanted + given) if wanted + given else 0.0

    lost = drop(np.arange(len(counts)))
    low, high = resampled(drop, len(counts))
    return Figures("F1 against the original", 1.0, 1 - lost, lost, low, high, labelled=False, agreement=1 - lost)


def _found_again(wanted: Any, given: Any, iou: float) -> int:
    """How many of ``wanted`` pair with one of ``given`` of the same class, each taken once, the surest first."""
    free = np.ones(len(given), bool)
    again = 0
    for box in wanted:
        fits = free & (given[:, 4] == box[4]) & (overlap(box, given) >= iou) if len(given) else free
        if fits.any():
            free[int(np.flatnonzero(fits)[0])] = False
            again += 1
    return again
