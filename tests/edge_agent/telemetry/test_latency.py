"""The histogram keeps its error bound, its size, and its arithmetic."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.telemetry.latency import (
    BUCKETS,
    EMPTY,
    LIMIT_US,
    RELATIVE_ERROR,
    LatencyHistogram,
    bounds_us,
    bucket,
    count,
    merge,
    percentile,
    subtract,
    summarize,
)
from edge_agent.values import HistogramSnapshot

durations = st.floats(min_value=0.0, max_value=LIMIT_US)
batches = st.lists(durations, max_size=60)


def recorded(values: list[float]) -> HistogramSnapshot:
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value)
    return histogram.snapshot()


def nearest_rank(values: list[float], q: float) -> float:
    return sorted(values)[max(1, math.ceil(len(values) * q / 100)) - 1]


@given(durations)
def test_a_value_lies_in_its_bucket(us: float) -> None:
    low, high = bounds_us(bucket(us))
    assert low <= us < high


def test_the_buckets_tile_the_range_without_gap_or_overlap() -> None:
    edges = [bounds_us(index) for index in range(BUCKETS)]
    assert edges[0][0] == 0.0
    assert all(left[1] == right[0] for left, right in itertools.pairwise(edges))
    assert BUCKETS < 1000


@given(st.lists(durations, min_size=1, max_size=200), st.sampled_from([1.0, 25.0, 50.0, 90.0, 95.0, 99.0, 100.0]))
def test_percentiles_are_within_two_percent_of_the_exact_ones(values: list[float], q: float) -> None:
    exact = nearest_rank(values, q)
    found = percentile(recorded(values), q)
    assert abs(found - exact) <= max(RELATIVE_ERROR * exact, 1 / 64) * 1.000001
    assert RELATIVE_ERROR <= 0.02


@given(batches, batches)
def test_merging_is_recording_both(one: list[float], other: list[float]) -> None:
    assert merge(recorded(one), recorded(other)) == recorded(one + other)


@given(batches, batches)
def test_the_difference_of_two_snapshots_holds_what_came_between(before: list[float], after: list[float]) -> None:
    between = subtract(recorded(before + after), recorded(before))
    assert between.counts == recorded(after).counts
    if after:
        assert max(after) <= between.max_us <= bounds_us(bucket(max(after)))[1]
    else:
        assert between == EMPTY


def test_a_histogram_that_began_anew_counts_as_all_new() -> None:
    fresh = recorded([5.0])
    assert subtract(fresh, recorded([900.0] * 7)) == fresh


def test_odd_durations_are_counted_and_never_break_a_message() -> None:
    snapshot = recorded([-3.0, math.nan, math.inf, 2e8, 0.0])
    assert count(snapshot) == 5
    assert math.isfinite(summarize(snapshot).max_us)


def test_nothing_recorded_summarizes_to_zero() -> None:
    summary = summarize(EMPTY)
    assert (summary.count, summary.p50_us, summary.p99_us, summary.max_us) == (0, 0.0, 0.0, 0.0)


def test_memory_does_not_grow_with_what_is_recorded() -> None:
    histogram = LatencyHistogram()
    for us in range(1, 20_000):
        histogram.record(us * 17.3)
    assert len(histogram.snapshot().counts) <= BUCKETS
    assert count(histogram.snapshot()) == 19_999
