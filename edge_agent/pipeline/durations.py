"""Durations kept as they come and counted many at a time: one by one, counting them would cost more than a small model takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_agent.telemetry.latency import LIMIT_US, TICKS_PER_US, LatencyHistogram

MOST_KEPT = 512
_SUB_BITS = 5


class Durations:
    """A row of ``columns`` durations at a time, in microseconds; a histogram for each column. One thread."""

    def __init__(self, columns: int) -> None:
        self._histograms = tuple(LatencyHistogram() for _ in range(columns))
        self._rows: list[tuple[float, ...]] = []

    def record(self, row: tuple[float, ...]) -> None:
        self._rows.append(row)
        if len(self._rows) >= MOST_KEPT:
            self._count()

    def trees(self) -> list[dict[str, Any]]:
        """A JSON-ready snapshot of each column, with everything recorded until now."""
        self._count()
        snapshots = [histogram.snapshot() for histogram in self._histograms]
        return [{"counts": snapshot.counts, "max_us": snapshot.max_us} for snapshot in snapshots]

    def _count(self) -> None:
        if self._rows:
            columns = np.array(self._rows, np.float64).T
            self._rows.clear()
            for histogram, column in zip(self._histograms, columns, strict=True):
                numbers, counts = np.unique(buckets(column), return_counts=True)
                longest = column[np.isfinite(column)].max(initial=0.0)
                histogram.add(dict(zip(numbers.tolist(), counts.tolist(), strict=True)), float(longest))


def buckets(durations_us: Any) -> Any:
    """What :func:`edge_agent.telemetry.latency.bucket` says of each of them; int64."""
    ticks = (np.clip(np.nan_to_num(durations_us, nan=0.0), 0.0, LIMIT_US) * TICKS_PER_US).astype(np.int64)
    _, length = np.frexp(ticks.astype(np.float64))  # of whole numbers below 2**53 exactly their bit length
    shift = np.maximum(length - _SUB_BITS - 1, 0)
    return (shift << _SUB_BITS) + (ticks >> shift)
