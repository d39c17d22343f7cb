from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.pipeline.durations import MOST_KEPT, Durations, buckets
from edge_agent.telemetry.latency import LatencyHistogram, bucket

durations = st.floats(-1e3, 1e12) | st.sampled_from([0.0, math.nan, math.inf, 1e8, 31.999, 32.0, 1 / 32])


@given(st.lists(durations, min_size=1, max_size=200))
def test_buckets_are_those_of_single_durations(values: list[float]) -> None:
    assert buckets(np.array(values)).tolist() == [bucket(value) for value in values]


@given(st.lists(st.tuples(durations, durations), max_size=80), st.integers(1, 20))
def test_columns_count_as_histograms_do(rows: list[tuple[float, float]], repeats: int) -> None:
    many, single = Durations(2), [LatencyHistogram(), LatencyHistogram()]
    for row in rows * repeats:
        many.record(row)
        for histogram, value in zip(single, row, strict=True):
            histogram.record(value)
    for tree, histogram in zip(many.trees(), single, strict=True):
        assert tree == {"counts": histogram.snapshot().counts, "max_us": histogram.snapshot().max_us}


def test_no_more_is_kept_than_there_is_room_for() -> None:
    many = Durations(1)
    for _ in range(3 * MOST_KEPT + 7):
        many.record((2.0,))
    assert sum(many.trees()[0]["counts"].values()) == 3 * MOST_KEPT + 7
