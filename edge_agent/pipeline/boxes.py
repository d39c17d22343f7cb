"""Geometry of boxes, for detectors on the device and for judging them on the host. Boxes are rows of left, top, right, bottom."""

from __future__ import annotations

from typing import Any

import numpy as np


def corners_of(centred: Any) -> Any:
    """Corners of rows of centre x, centre y, width, height."""
    half = centred[:, 2:4] / 2
    return np.concatenate([centred[:, :2] - half, centred[:, :2] + half], axis=1)


def overlap(one: Any, others: Any) -> Any:
    """Intersection over union of one box with each of ``others``."""
    low, high = np.maximum(one[:2], others[:, :2]), np.minimum(one[2:4], others[:, 2:4])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    whole = (one[2:4] - one[:2]).prod() + (others[:, 2:4] - others[:, :2]).prod(axis=1) - shared
    return shared / np.maximum(whole, 1e-12)


def surest(score: Any, least: float, most: int) -> Any:
    """The places of at most ``most`` scores of ``least`` or more, the highest first, equals in their order. NaN is never among them."""
    kept = np.flatnonzero(score >= least)
    return kept[np.argsort(-score[kept], kind="stable")][:most]


def apart(corners: Any, classes: Any, limit: float, most: int) -> Any:
    """Greedy non-maximum suppression by class: the places of at most ``most`` boxes, the surest given first, no two of one class
    overlapping by more than ``limit``."""
    kept: list[int] = []
    left = np.arange(len(corners))
    while len(left) and len(kept) < most:
        first, rest = left[0], left[1:]
        kept.append(int(first))
        same = (classes[rest] == classes[first]) & (overlap(corners[first], corners[rest]) > limit)
        left = rest[~same]
    return np.array(kept, np.intp)
