"""Least squares for one layer: new weights near the old ones that give the wanted outputs, with the damping that does best on rows held
out."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.prune.observe import moments

DAMPINGS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Shares of the mean diagonal of the second moments."""
RECTIFIED_ROUNDS = 3
WIDE = 1500
"""Layers with more inputs are solved for twice only: once with a middling damping, once for a rectifier."""


def fit(rows: Any, target: Any, start: Any, held_out: Any, low: Any, high: Any) -> Any:
    """Weights float64 (inputs, outputs) that take ``rows`` (float32, count x inputs) to ``target`` (count x outputs), ridge towards
    ``start``.

    ``held_out``: bool (count), rows that only choose the damping. Where a rectifier follows, a target below ``low`` (above ``high``)
    asks no
    more than to be below (above): such targets follow the fit, a few rounds (bounds: float32, broadcast against ``target``).
    """
    second = moments(rows[~held_out])
    base = np.trace(second) / len(second) + 1e-12
    wanted = target
    best = _damping(rows, target, start, held_out, second, base)
    solved = _solved(second, best * base)
    weights = start + solved(_against(rows, wanted - _times(rows, start), held_out))
    if np.isfinite(low).any() or np.isfinite(high).any():
        for _ in range(RECTIFIED_ROUNDS if len(second) <= WIDE else 1):
            found = _times(rows, weights)
            wanted = np.where(target <= low, np.minimum(found, low), np.where(target >= high, np.maximum(found, high), target))
            weights = weights + solved(_against(rows, wanted - found, held_out))
    return weights


def fit_channels(rows: Any, target: Any, start: Any, low: Any, high: Any) -> Any:
    """The same for a depthwise layer: ``rows`` (count, channels, taps + 1), ``target`` (count, channels), ``start`` (channels, taps +
    1)."""
    channels = np.ascontiguousarray(rows.transpose(1, 0, 2))
    turned = channels.transpose(0, 2, 1)
    second = (turned @ channels).astype(np.float64)
    second += DAMPINGS[1] * (np.trace(second, axis1=1, axis2=2)[:, None, None] / second.shape[-1] + 1e-12) * np.eye(second.shape[-1])
    weights, wanted = start.astype(np.float64), target
    for _ in range(1 + RECTIFIED_ROUNDS):
        found = (channels @ weights.astype(np.float32)[:, :, None])[:, :, 0].T
        wanted = np.where(target <= low, np.minimum(found, low), np.where(target >= high, np.maximum(found, high), target))
        left = (turned @ np.ascontiguousarray((wanted - found).T)[:, :, None]).astype(np.float64)
        weights = weights + np.linalg.solve(second, left)[:, :, 0]
    return weights


def _damping(rows: Any, target: Any, start: Any, held_out: Any, second: Any, base: float) -> float:
    if not held_out.any() or len(second) > WIDE:
        return DAMPINGS[2]
    left = target - _times(rows, start)
    against = _against(rows, left, held_out)
    checked, wanted = rows[held_out], left[held_out]
    errors = [float(np.square(wanted - _times(checked, _solved(second, share * base)(against))).sum()) for share in DAMPINGS]
    return DAMPINGS[int(np.argmin(errors))]


def _solved(second: Any, damping: float) -> Any:
    damped = second + damping * np.eye(len(second))
    return lambda right: np.linalg.solve(damped, right)


def _times(rows: Any, weights: Any) -> Any:
    return rows @ weights.astype(np.float32)


def _against(rows: Any, left: Any, held_out: Any) -> Any:
    kept = ~held_out
    return (rows[kept].T @ left[kept]).astype(np.float64)
