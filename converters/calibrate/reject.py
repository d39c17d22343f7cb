"""Which calibration samples are not like the others: one wild frame would stretch every range and cost the rest their precision.

A sample is an outlier when its range is more than ``FACTOR`` times the median sample's in at least half of the tensors that can grow with
their input; behind a ReLU6 or a sigmoid the wildest frame looks tame. One tensor alone is no reason: rare but real events (a detector that
fires) look just so; infinity or NaN in one is. Where many samples are far from the median, the data is simply wide, and all are kept.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from converters.calibrate.ranges import Calibration, RangeTable, Rejected

FACTOR = 4.0
SHARE_OF_TENSORS = 0.5
MAX_SHARE = 0.1
MIN_SAMPLES = 5
MOST_TOLD = 1e9
ENDLESS = 1e300
"""In place of NaN and infinity: beyond any float32."""


def reject_outliers(table: RangeTable, growing: Collection[str] | None = None) -> Calibration:
    """The ranges of ``table`` without its outliers, which are named. ``growing`` are the tensors that can tell, all when not given."""
    if not table.names:
        return Calibration({}, (), len(table.rows))
    spread = np.nan_to_num(np.maximum(np.abs(table.low), np.abs(table.high)).astype(np.float64), nan=ENDLESS, posinf=ENDLESS)
    median = np.median(spread, axis=0)
    ratio = np.divide(spread, median, out=np.ones_like(spread), where=median > 0)
    telling = [i for i, name in enumerate(table.names) if growing is None or name in growing] or list(range(len(table.names)))
    wide = (ratio[:, telling] > FACTOR).mean(axis=1) >= SHARE_OF_TENSORS
    note = ""
    if len(table.rows) < MIN_SAMPLES:
        wide[:] = False
    elif wide.mean() > MAX_SHARE:
        note = f"{int(wide.sum())} of {len(wide)} calibration samples are far wider than the median; too many to be outliers, all were kept"
        wide[:] = False
    wide |= (spread == ENDLESS).any(axis=1)  # the float model itself overflows there
    rejected = [_named(table, ratio, int(index)) for index in np.flatnonzero(wide)]
    kept = ~wide
    low, high = table.low[kept].min(axis=0), table.high[kept].max(axis=0)
    ranges = {name: (float(low[i]), float(high[i])) for i, name in enumerate(table.names)}
    return Calibration(ranges, tuple(rejected), int(kept.sum()), note)


def _named(table: RangeTable, ratio: np.ndarray, index: int) -> Rejected:
    column = int(ratio[index].argmax())
    return Rejected(table.rows[index], table.names[column], round(min(float(ratio[index, column]), MOST_TOLD), 2))
