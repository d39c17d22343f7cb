"""Autoencoders: the mean squared error of what they give back is a score, and a score above a threshold an alarm.

With labels (0 normal, others not) the area under the receiver's curve counts; without, whether the same samples raise an alarm. A quantized
model's scores lie a little higher, so its threshold is derived anew: the one that alarms on as many samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.errors import InputError
from converters.metrics.figures import Figures, Threshold, resampled
from converters.metrics.intervals import wilson
from edge_agent.pipeline.scores import squared_error

USUAL = 0.95
"""Of the original's scores lie below the threshold when none is declared."""


def scores(given: Any, inputs: Any) -> Any:
    """Mean squared error of each sample, arrays of (samples, values). Raises :class:`InputError` when they do not pair up."""
    if given.shape != inputs.shape:
        said = f"this model takes {inputs.shape[1]} values and gives {given.shape[1]}"
        raise InputError(f"metric: an autoencoder gives back what it takes; {said}")
    return squared_error(given, inputs)


def compare_reconstruction(before: Any, after: Any, declared: float | None, labels: Any) -> Figures:
    """Scores of the original and of the candidate, and (or ``None``) the label of each sample."""
    limit = float(np.quantile(before, USUAL)) if declared is None else declared
    share = float((before > limit).mean())
    derived = _limit_for(after, before, limit)
    threshold = Threshold(limit, derived, share)
    same = (before > limit) == (after > derived)
    agreement = float(same.mean())
    if labels is None or len({bool(label) for label in labels}) < 2:
        low, high = wilson(int((~same).sum()), len(same))
        return Figures("alarms", None, None, 1 - agreement, low, high, labelled=False, agreement=agreement, threshold=threshold)
    odd = np.asarray(labels) != 0

    def drop(rows: Any) -> float:
        return area(before[rows], odd[rows]) - area(after[rows], odd[rows])

    low, high = resampled(drop, len(odd))
    every = np.arange(len(odd))
    return Figures("AUC", area(before, odd), area(after, odd), drop(every), low, high, True, agreement, threshold)


def area(given: Any, odd: Any) -> float:
    """Area under the receiver's operating curve: the share of pairs (normal, odd) that are told apart (Mann and Whitney 1947)."""
    count = int(odd.sum())
    others = len(odd) - count
    if not count or not others:
        return float("nan")
    order = np.unique(given, return_inverse=True)[1]
    sizes = np.bincount(order)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[order]
    return float((ranks[odd].sum() - count * (count + 1) / 2) / (count * others))


def _limit_for(after: Any, before: Any, limit: float) -> float:
    """Halfway between the highest of ``after`` that must not alarm and the lowest that must, so that as many alarm as in ``before``."""
    quiet = int((before <= limit).sum())
    ordered = np.sort(after)
    if quiet in (0, len(ordered)):  # all alarm or none: the scores' own shift is all that is known
        return limit * float(after.mean() / before.mean()) if before.mean() > 0 else limit
    return float((ordered[quiet - 1] + ordered[quiet]) / 2)
