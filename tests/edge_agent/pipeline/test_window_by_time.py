"""Windows by time: an even grid from uneven samples, and what is done where the sensor was silent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.pipeline.time_window import TimeWindower
from edge_agent.pipeline.track import MOST_ROWS, Track
from edge_agent.values import Sample, Window

MS = 1_000_000


def sample(seq: int, at_ms: float, *values: float, label: int | None = None) -> Sample:
    return Sample("s", seq, round(at_ms * MS), values or (at_ms,), label)


def feed(windower: TimeWindower, *times_ms: float) -> list[Window]:
    """Samples whose value is their time in ms."""
    return [window for seq, at_ms in enumerate(times_ms) for window in windower.push(sample(seq, at_ms))]


def test_an_even_source_comes_out_as_it_is() -> None:
    windows = feed(TimeWindower(4, 0.04, 0.04), *range(0, 130, 10))
    assert [window.values[:, 0].tolist() for window in windows] == [[0, 10, 20, 30], [40, 50, 60, 70], [80, 90, 100, 110]]
    assert [(window.seq, window.first_seq, window.last_seq, window.gaps) for window in windows] == [
        (0, 0, 3, 0),
        (1, 4, 7, 0),
        (2, 8, 11, 0),
    ]
    assert [(window.start_ns, window.end_ns) for window in windows[:2]] == [(0, 30 * MS), (40 * MS, 70 * MS)]
    assert windows[0].values.dtype == np.float32


def test_values_between_samples_are_interpolated() -> None:
    windows = feed(TimeWindower(5, 0.05, 0.05), 0, 7, 16, 24, 33, 41, 52, 60, 67, 75, 83, 92)
    assert np.allclose(windows[0].values[:, 0], [0, 10, 20, 30, 40], atol=1e-4) and windows[0].gaps == 0
    assert np.allclose(windows[1].values[:, 0], [50, 60, 70, 80, 90], atol=1e-4)


@given(
    steps=st.lists(st.floats(2, 14), min_size=30, max_size=60),
    length=st.integers(1, 12),
    hop_ms=st.integers(5, 80),
)
def test_a_straight_line_stays_straight_however_uneven_the_samples(steps: list[float], length: int, hop_ms: int) -> None:
    times_ms = [round(at, 3) for at in np.cumsum([0.0, *steps])]
    windows = feed(TimeWindower(length, length * 10 / 1000, hop_ms / 1000), *times_ms)
    ends = [start + (length - 1) * 10 for start in range(0, 2000, hop_ms)]
    assert len(windows) == sum(end <= times_ms[-1] + 1e-6 for end in ends)
    for number, window in enumerate(windows):
        expected = number * hop_ms + 10 * np.arange(length)
        assert np.allclose(window.values[:, 0], expected, atol=1e-2) and window.gaps == 0


def silence(on_gap: str) -> list[Window]:
    """A sample each 10 ms but for 100 to 160 ms."""
    return feed(TimeWindower(10, 0.1, 0.1, on_gap), *[at for at in range(0, 310, 10) if not 100 < at < 160])


def test_silence_holds_the_last_value_and_is_counted() -> None:
    window = silence("hold")[1]
    # 110 and 150 ms are within 15 ms of a sample; 120, 130 and 140 are not.
    assert window.gaps == 3
    assert window.values[:, 0].tolist() == [100, 110, 100, 100, 100, 150, 160, 170, 180, 190]


def test_silence_can_be_marked() -> None:
    window = silence("nan")[1]
    assert np.isnan(window.values[:, 0]).sum() == window.gaps > 0


def test_windows_with_silence_can_be_left_out() -> None:
    windower = TimeWindower(10, 0.1, 0.1, "skip")
    times = [at for at in range(0, 310, 10) if not 100 < at < 160]
    windows = feed(windower, *times)
    assert [window.start_ns for window in windows] == [0, 200 * MS]
    assert windower.skipped == 1 and windower.discarded > 0
    assert sum(window.settles for window in windows) + windower.discarded <= len(times)


@pytest.mark.parametrize("on_gap", ["hold", "nan", "skip"])
def test_an_outage_of_a_day_costs_no_windows_and_no_time(on_gap: str) -> None:
    windower = TimeWindower(10, 0.1, 0.01, on_gap)
    day_ms = 86_400_000
    windows = feed(windower, *range(0, 200, 10), *range(day_ms, day_ms + 200, 10))
    assert len(windows) < 60
    assert windower.skipped > 8_000_000
    assert windows[-1].start_ns >= day_ms * MS and windows[-1].gaps == 0


def test_a_sensor_slower_than_the_grid_is_not_all_gaps() -> None:
    windows = feed(TimeWindower(100, 1.0, 1.0), *range(0, 3100, 100))
    assert [window.gaps for window in windows] == [0, 0, 0]
    assert np.allclose(windows[1].values[:, 0], 1000 + 10 * np.arange(100), atol=1e-2)


@given(rows=st.lists(st.integers(1, 40), min_size=1, max_size=12), length=st.integers(1, 20), hop_ms=st.integers(3, 60))
def test_blocks_give_what_their_rows_give_one_by_one(rows: list[int], length: int, hop_ms: int) -> None:
    apart, together = TimeWindower(length, length / 100, hop_ms / 1000), TimeWindower(length, length / 100, hop_ms / 1000)
    expected, got, seq = [], [], 0
    for count in rows:
        values = np.arange(seq, seq + count, dtype=np.float32)[:, np.newaxis] * 5
        block = Sample("s", seq, seq * 5 * MS, values if count > 1 else values[0], None, count, 5 * MS)
        got += together.push(block)
        for row in range(count):
            expected += apart.push(block.part(row, 1))
        seq += count
    assert [(w.first_seq, w.last_seq, w.start_ns, w.gaps) for w in got] == [(w.first_seq, w.last_seq, w.start_ns, w.gaps) for w in expected]
    assert all(np.array_equal(one.values, other.values) for one, other in zip(got, expected, strict=True))
    assert sum(w.settles for w in got) <= seq and sum(w.settles for w in expected) <= seq


def test_a_time_that_goes_back_and_another_width_begin_anew() -> None:
    windower = TimeWindower(2, 0.02, 0.02)
    windows = [w for s in (sample(0, 50), sample(0, 0), sample(1, 10), sample(2, 20, 1, 2), sample(3, 30, 3, 4)) for w in windower.push(s)]
    assert [(window.start_ns, window.values.tolist()) for window in windows] == [(0, [[0], [10]]), (20 * MS, [[1, 2], [3, 4]])]
    assert windower.discarded == 1


def test_readings_of_one_instant_do_not_divide_by_zero() -> None:
    windower = TimeWindower(3, 0.03, 0.03)
    windows = [w for seq, at in enumerate([0, 0, 10, 10, 20, 20, 30]) for w in windower.push(sample(seq, at, float(seq)))]
    assert windows[0].values[:, 0].tolist() == [1, 3, 4] and windows[0].gaps == 0


def test_the_label_is_that_of_the_windows_last_sample_not_of_the_one_that_closes_it() -> None:
    windower = TimeWindower(2, 0.02, 0.02)
    windows = [w for seq, at in enumerate([0, 9, 11, 25]) for w in windower.push(sample(seq, at, label=seq))]
    assert windows[0].label == 1


@settings(max_examples=20)
@given(
    steps=st.lists(st.floats(0, 400), min_size=1, max_size=80), hop_ms=st.integers(1, 300), on_gap=st.sampled_from(["hold", "nan", "skip"])
)
def test_settled_discarded_and_held_add_up(steps: list[float], hop_ms: int, on_gap: str) -> None:
    windower = TimeWindower(5, 0.05, hop_ms / 1000, on_gap)
    settled = 0
    for seq, at_ms in enumerate(np.cumsum(steps)):
        for window in windower.push(sample(seq, float(at_ms))):
            assert window.settles >= 0 and window.first_seq <= window.last_seq <= seq and 0 <= window.gaps < 5
            settled += window.settles
        assert 0 <= settled + windower.discarded <= seq + 1


def test_memory_is_bounded_however_long_the_window() -> None:
    track = Track((1,))
    count = MOST_ROWS // 4
    for number in range(12):
        rows = np.zeros((count, 1), np.float32)
        track.append(Sample("s", number * count, number * count, rows, None, count, 1), rows)
        assert len(track) <= 2 * MOST_ROWS
    assert track.last_ns == 12 * count - 1 and int(track.seqs[-1]) == 12 * count - 1


def test_what_cannot_be_is_refused() -> None:
    for arguments in ((0, 1.0, 1.0, "hold"), (1, 0.0, 1.0, "hold"), (1, 1.0, -1.0, "hold"), (1, 1.0, 1.0, "drop")):
        with pytest.raises(ValueError, match="must be"):
            TimeWindower(*arguments)
