"""Scores without memory: softmax, sigmoid, the k best, real numbers from stored codes, and how wrong an autoencoder is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edge_agent.pipeline.detectors import sigmoid
from edge_agent.values import TensorSpec

Transform = Callable[[Any], Any]


def softmax(x: Any) -> Any:
    power = np.exp(x - np.maximum.reduce(x, initial=-np.inf))
    return power / np.add.reduce(power)


def topk(k: int) -> Transform:
    """Scores other than the ``k`` largest become 0."""

    def keep(x: Any) -> Any:
        best = np.argsort(-x, kind="stable")[:k]
        kept = np.where(np.isnan(x), x, 0.0)  # what is not a number stays so, else it would be lost that nothing can win
        kept[best] = x[best]
        return kept

    return keep


def dequantizer(spec: TensorSpec) -> Transform:
    """Real numbers (float64) of a tensor's stored values."""
    if spec.scale is None or np.dtype(spec.dtype).kind not in "iu":
        return lambda x: np.asarray(x, np.float64)
    scale, zero = float(spec.scale), float(spec.zero_point or 0)
    return lambda x: (np.asarray(x, np.float64) - zero) * scale


def squared_error(given: Any, wanted: Any) -> Any:
    """Mean squared difference along the last axis."""
    return np.square(given - wanted).mean(axis=-1)


def absolute_error(given: Any, wanted: Any) -> Any:
    """Mean absolute difference along the last axis."""
    return np.abs(given - wanted).mean(axis=-1)


__all__ = ["absolute_error", "dequantizer", "sigmoid", "softmax", "squared_error", "topk"]
