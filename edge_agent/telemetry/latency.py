"""Latency histograms of fixed size, and the arithmetic on their snapshots.

Buckets are log-linear, the idea of HdrHistogram (Gil Tene): every power of two is cut into 32 equal parts, so a bucket's middle
is within 1/64 (1.6 %) of any value in it. Values are counted in ticks of 1/32 us, which carries that bound down to 1 us; below it
the error is at most 1/64 us. Values above 100 s are counted as 100 s; the maximum is kept exactly.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge_agent.protocol.messages import LatencySummary
from edge_agent.values import HistogramSnapshot

TICKS_PER_US = 32
LIMIT_US = 1e8
_SUB_BITS = 5
_INFINITE = float("inf")
RELATIVE_ERROR = 1 / 64
"""Bound of ``|percentile - exact| / exact`` from 1 us to 100 s."""

EMPTY = HistogramSnapshot({}, 0.0)


def bucket(us: float) -> int:
    """Index of the bucket that counts ``us``; not a number and anything below zero count as zero."""
    ticks = int(min(max(0.0, us), LIMIT_US) * TICKS_PER_US)
    shift = ticks.bit_length() - _SUB_BITS - 1
    return ticks if shift <= 0 else (shift << _SUB_BITS) + (ticks >> shift)


BUCKETS = bucket(LIMIT_US) + 1


def bounds_us(index: int) -> tuple[float, float]:
    """Lower and upper edge of bucket ``index``, in microseconds."""
    shift = max(0, (index >> _SUB_BITS) - 1)
    low = (index - (shift << _SUB_BITS)) << shift
    return low / TICKS_PER_US, (low + (1 << shift)) / TICKS_PER_US


class LatencyHistogram:
    """Counts durations since it was made. One thread records; any thread may take a snapshot."""

    __slots__ = ("_counts", "_max_us")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._max_us = 0.0

    def record(self, us: float) -> None:
        """Count one duration of ``us`` microseconds."""
        # bucket() written out: the call would cost as much as the work. max(0.0, nan) is 0.0 in this order.
        ticks = int(min(max(0.0, us), LIMIT_US) * TICKS_PER_US)
        shift = ticks.bit_length() - 6
        index = ticks if shift <= 0 else (shift << 5) + (ticks >> shift)
        counts = self._counts
        counts[index] = counts.get(index, 0) + 1
        if self._max_us < us < _INFINITE:
            self._max_us = us

    def add(self, buckets: Mapping[int, int], max_us: float) -> None:
        """Count many durations at once: how many in each bucket, and the longest of them."""
        counts = self._counts
        for index, number in buckets.items():
            counts[index] = counts.get(index, 0) + number
        self._max_us = max(self._max_us, max_us)

    def snapshot(self) -> HistogramSnapshot:
        """What was counted until now; at most a record in flight is missing."""
        return HistogramSnapshot(self._counts.copy(), self._max_us)


def count(snapshot: HistogramSnapshot) -> int:
    """How many durations are in ``snapshot``."""
    return sum(snapshot.counts.values())


def merge(one: HistogramSnapshot, other: HistogramSnapshot) -> HistogramSnapshot:
    """Both together, as if one histogram had recorded all."""
    counts = dict(one.counts)
    for index, number in other.counts.items():
        counts[index] = counts.get(index, 0) + number
    return HistogramSnapshot(counts, max(one.max_us, other.max_us))


def subtract(later: HistogramSnapshot, earlier: HistogramSnapshot) -> HistogramSnapshot:
    """What was recorded between two snapshots of one histogram.

    When ``earlier`` is not contained in ``later`` the histogram began anew in between (its process restarted) and all of ``later`` is new.
    The maximum is exact when the interval set it, else the upper edge of the highest bucket that grew.
    """
    if any(later.counts.get(index, 0) < number for index, number in earlier.counts.items()):
        return later
    counts = {}
    for index, number in later.counts.items():
        grown = number - earlier.counts.get(index, 0)
        if grown:
            counts[index] = grown
    if not counts:
        return EMPTY
    max_us = later.max_us if later.max_us > earlier.max_us else min(later.max_us, bounds_us(max(counts))[1])
    return HistogramSnapshot(counts, max_us)


def percentile(snapshot: HistogramSnapshot, q: float) -> float:
    """The ``q``-th percentile (0-100) in microseconds by nearest rank, at the middle of its bucket; 0.0 when nothing was recorded."""
    total = count(snapshot)
    if not total:
        return 0.0
    rank = max(1, -int(-(total * q) // 100))
    seen = 0
    for index in sorted(snapshot.counts):
        seen += snapshot.counts[index]
        if seen >= rank:
            return _middle_us(index, snapshot.max_us)
    return snapshot.max_us


def summarize(snapshot: HistogramSnapshot) -> LatencySummary:
    """Count, median, 95th and 99th percentile and maximum of ``snapshot``."""
    return LatencySummary(
        count=count(snapshot),
        p50_us=percentile(snapshot, 50),
        p95_us=percentile(snapshot, 95),
        p99_us=percentile(snapshot, 99),
        max_us=snapshot.max_us,
    )


def _middle_us(index: int, max_us: float) -> float:
    low, high = bounds_us(index)
    # The middle may lie above the largest value seen, or (in the last bucket) far below it: never report more than the maximum.
    return min((low + high) / 2, max_us)
