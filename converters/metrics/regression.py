"""Regressors with targets: the share of the targets' variance that is explained (R squared), and how much of it a candidate loses."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.errors import InputError
from converters.metrics.figures import Figures, resampled


def compare_regression(before: Any, after: Any, targets: Any) -> Figures:
    """Arrays of (samples, values); the targets may have fewer dimensions. Raises :class:`InputError` when they do not pair up."""
    wanted = targets.astype(np.float64).reshape(len(targets), -1)
    if wanted.shape != before.shape:
        raise InputError(f"samples: targets: have {wanted.shape[1]} values a row, the model gives {before.shape[1]}")
    if not np.isfinite(wanted).all():
        raise InputError("samples: targets: hold NaN or infinity; leave those rows out")
    if not float(np.square(wanted - wanted.mean(axis=0)).sum()):
        raise InputError("samples: targets: are all the same; nothing can be judged by them")

    def drop(rows: Any) -> float:
        return _explained(before[rows], wanted[rows]) - _explained(after[rows], wanted[rows])

    everything = np.arange(len(wanted))
    low, high = resampled(drop, len(wanted))
    return Figures("R²", _explained(before, wanted), _explained(after, wanted), drop(everything), low, high, labelled=True)


def _explained(given: Any, wanted: Any) -> float:
    spread = float(np.square(wanted - wanted.mean(axis=0)).sum())
    return 1 - float(np.square(given - wanted).sum()) / spread if spread else float("nan")
