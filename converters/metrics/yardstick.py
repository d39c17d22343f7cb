"""The measure of one model's kind, laid against each candidate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from converters.distance import real
from converters.errors import InputError
from converters.metrics.boxes import Reader, box_reader
from converters.metrics.detection import compare_detections
from converters.metrics.figures import Figures
from converters.metrics.reconstruction import compare_reconstruction, scores
from converters.metrics.regression import compare_regression
from converters.metrics.said import MetricSaid
from converters.samples import Samples
from converters.workshop import Proof
from edge_agent.bundle.manifest import Step

Yardstick = Callable[[Proof], Figures]


def yardstick(
    metric: str, said: MetricSaid, original: Proof, samples: Samples, rows: Sequence[int], postprocess: Sequence[Step] = ()
) -> Yardstick | None:
    """A function from a candidate's answers on ``rows`` to what it loses; ``None`` for metrics that need none. What ``said`` leaves open,
    the form of a detector's answers and the limit of an alarm, the device's own steps ``postprocess`` say. Raises :class:`InputError` where
    samples or answers are not of the kind."""
    if metric == "regressor":
        return _regressor(original, samples, rows)
    if metric == "autoencoder":
        limit = _alarm_of(postprocess) if said.threshold is None else said.threshold
        return _autoencoder(limit, original, samples, rows)
    if metric == "detector":
        read = box_reader([spec.name for spec in original.outputs], said, next((step for step in postprocess if step.op == "boxes"), None))
        before = _detections(original, read)
        return lambda proof: compare_detections(before, _detections(proof, read), said.iou)
    return None


def _regressor(original: Proof, samples: Samples, rows: Sequence[int]) -> Yardstick:
    if samples.targets is None:
        raise InputError(
            f"{samples.path}: has no array targets, one row a sample, by which a regressor is judged; say kind = 'signal' without"
        )
    targets, before = samples.targets[list(rows)], _first(original)
    return lambda proof: compare_regression(before, _first(proof), targets)


def _alarm_of(postprocess: Sequence[Step]) -> float | None:
    """The limit that the device's own steps raise an alarm at, if they do."""
    limits = (step.args.get({"threshold": "at", "hysteresis": "on"}.get(step.op, "")) for step in postprocess)
    return next((float(limit) for limit in limits if limit is not None), None)


def _autoencoder(limit: float | None, original: Proof, samples: Samples, rows: Sequence[int]) -> Yardstick:
    labels = None if samples.labels is None else samples.labels[list(rows)]
    before = alarm_scores(original, samples, rows)
    return lambda proof: compare_reconstruction(before, alarm_scores(proof, samples, rows), limit, labels)


def alarm_scores(proof: Proof, samples: Samples, rows: Sequence[int]) -> Any:
    """Of each sample, read as a stream again: what was asked is not kept beside what was answered."""
    given = _first(proof)
    asked = (next(iter(feed.values())).astype(np.float64).reshape(1, -1) for feed in samples.feeds(rows))
    return np.array([scores(given[at : at + 1], inputs)[0] for at, inputs in enumerate(asked)])


def _first(proof: Proof) -> Any:
    """The first output, real numbers, (samples, values)."""
    spec = proof.outputs[0]
    values = real(proof.values[spec.name], spec)
    return values.reshape(len(values), -1)


def _detections(proof: Proof, read: Reader) -> list[Any]:
    values = {spec.name: real(proof.values[spec.name], spec) for spec in proof.outputs}
    count = len(next(iter(values.values())))
    return [read({name: array[at] for name, array in values.items()}) for at in range(count)]
