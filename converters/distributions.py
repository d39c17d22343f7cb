"""How the answers are spread over their values: original and chosen candidate on the same samples, as counts in equal bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.choose import Tried
from converters.decide import verdicts
from converters.distance import real
from converters.metrics.yardstick import alarm_scores
from converters.original import Original
from converters.recipe import Recipe
from converters.workshop import Proof

BINS = 24
_KEEP = (0.1, 99.9)
"""Percentiles of both that the bins span where a few values lie far out."""


@dataclass(frozen=True, slots=True)
class Spread:
    """``edges`` ascend and are one more than the counts; ``unit`` says what is counted. ``beyond`` of the candidate's lie outside and are
    counted at the ends."""

    what: str
    unit: str
    edges: tuple[float, ...]
    original: tuple[int, ...]
    candidate: tuple[int, ...]
    beyond: int = 0


def spread(original: Original, chosen: Tried, recipe: Recipe) -> Spread | None:
    """Scores of the class given, an autoencoder's errors, or the values of the first output; ``None`` where there is nothing to count."""
    what, unit, before, after = _values(original, chosen.proof, recipe)
    before, after = before[np.isfinite(before)], after[np.isfinite(after)]
    if not len(before) or not len(after):
        return None
    edges = _edges(before, after)
    first, second = _counts(before, edges), _counts(after, edges)
    beyond = int(((after < edges[0]) | (after > edges[-1])).sum())
    return Spread(what, unit, tuple(round(float(edge), 9) for edge in edges), first, second, beyond)


def _values(original: Original, proof: Proof, recipe: Recipe) -> tuple[str, str, Any, Any]:
    if original.metric == "top1":
        return "score of the class given", "samples", _scores(original.proof, recipe), _scores(proof, recipe)
    if original.metric == "autoencoder":
        rows = original.split.evaluate
        before, after = (alarm_scores(each, original.samples, rows) for each in (original.proof, proof))
        return "error of reconstruction", "samples", before, after
    return f"values of {original.proof.outputs[0].name}", "values", _first(original.proof), _first(proof)


def _scores(proof: Proof, recipe: Recipe) -> Any:
    found = [verdict.score if verdict.score is not None else max(verdict.scores) for verdict in verdicts(proof, recipe.processing)]
    return np.array(found, np.float64)


def _first(proof: Proof) -> Any:
    spec = proof.outputs[0]
    return real(proof.values[spec.name], spec).ravel()


def _edges(before: Any, after: Any) -> Any:
    low = min(float(np.percentile(each, _KEEP[0])) for each in (before, after))
    high = max(float(np.percentile(each, _KEEP[1])) for each in (before, after))
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1)


def _counts(values: Any, edges: Any) -> tuple[int, ...]:
    return tuple(int(number) for number in np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0])
