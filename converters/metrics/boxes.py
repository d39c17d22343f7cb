"""Answers of detectors to boxes: corners, class and score of each, the weaker of two that overlap left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from converters.errors import InputError
from converters.metrics.said import MetricSaid

MOST = 300
SAME = 0.45
"""Two boxes of one class that overlap by more are one thing."""


def detections(values: Mapping[str, Any], said: MetricSaid) -> Any:
    """Of one sample: rows of left, top, right, bottom, class, score, the best first. ``values`` are its outputs by name, real numbers.

    yolov8: one output (4 + classes, boxes), centre and size; yolov5: (boxes, 5 + classes), with a score that there is anything; corners and
    centre: an output of boxes (n, 4) and one of scores (n,) or (n, classes).
    """
    corners, scores = _read(values, said)
    best = scores.argmax(axis=1)
    score = scores[np.arange(len(scores)), best]
    kept = np.flatnonzero(score >= said.at)
    kept = kept[np.argsort(-score[kept], kind="stable")][:MOST]
    return _apart(np.column_stack([corners[kept], best[kept], score[kept]]))


def overlap(one: Any, others: Any) -> Any:
    """Intersection over union of one box with each of ``others``."""
    low, high = np.maximum(one[:2], others[:, :2]), np.minimum(one[2:4], others[:, 2:4])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    whole = (one[2:4] - one[:2]).prod() + (others[:, 2:4] - others[:, :2]).prod(axis=1) - shared
    return shared / np.maximum(whole, 1e-12)


def _read(values: Mapping[str, Any], said: MetricSaid) -> tuple[Any, Any]:
    if said.form in ("corners", "centre"):
        boxes = _output(values, said.boxes).reshape(-1, 4)
        scores = _output(values, said.scores).reshape(len(boxes), -1)
        return boxes if said.form == "corners" else _corners(boxes), scores
    array = np.squeeze(next(iter(values.values())), axis=0)
    if array.ndim != 2 or min(array.shape) < 5:
        raise InputError(f"metric: form {said.form} wants an output of boxes by numbers; this model gives {array.shape}")
    if said.form == "yolov8":
        array = array.T
        return _corners(array[:, :4]), array[:, 4:]
    return _corners(array[:, :4]), array[:, 5:] * array[:, 4:5] if array.shape[1] > 5 else array[:, 4:5]


def _output(values: Mapping[str, Any], name: str) -> Any:
    if name not in values:
        raise InputError(f"metric: {name!r} is not an output of the model; it has {', '.join(values)}")
    return values[name]


def _corners(boxes: Any) -> Any:
    half = boxes[:, 2:4] / 2
    return np.column_stack([boxes[:, :2] - half, boxes[:, :2] + half])


def _apart(found: Any) -> Any:
    """Greedy non-maximum suppression by class."""
    kept: list[int] = []
    left = np.arange(len(found))
    while len(left):
        first, rest = left[0], left[1:]
        kept.append(int(first))
        same = (found[rest, 4] == found[first, 4]) & (overlap(found[first], found[rest]) > SAME)
        left = rest[~same]
    return found[kept]
