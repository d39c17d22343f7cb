"""Windows from samples: lengths, hops, gaps, and samples that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.pipeline.time_window import TimeWindower
from edge_agent.pipeline.window import Windower, open_windower
from edge_agent.values import Sample, Window


def sample(seq: int, *values: float, label: int | None = None) -> Sample:
    return Sample("s", seq, 1000 * seq, values or (float(seq), -float(seq)), label)


def feed(windower: Windower, *seqs: int) -> list[Window]:
    return [window for seq in seqs for window in windower.push(sample(seq))]


def test_one_sample_windows_pass_everything_through() -> None:
    windower = Windower(1, 1)
    (window,) = windower.push(sample(7, 1.0, 2.0, label=3))
    assert (window.source, window.seq, window.first_seq, window.last_seq) == ("s", 0, 7, 7)
    assert (window.start_ns, window.end_ns, window.gaps, window.label) == (7000, 7000, 0, 3)
    assert window.values.shape == (1, 2) and window.values.dtype == np.float32


@given(length=st.integers(1, 9), hop=st.integers(1, 12), count=st.integers(0, 60))
def test_windows_start_every_hop_and_hold_length_samples(length: int, hop: int, count: int) -> None:
    windows = feed(Windower(length, hop), *range(count))
    starts = [start for start in range(0, count, hop) if start + length <= count]
    assert [window.first_seq for window in windows] == starts
    for number, window in enumerate(windows):
        expected = np.arange(window.first_seq, window.first_seq + length, dtype=np.float32)
        assert np.array_equal(window.values, np.stack([expected, -expected], axis=1))
        assert (window.seq, window.last_seq, window.gaps) == (number, window.first_seq + length - 1, 0)
        assert (window.start_ns, window.end_ns) == (1000 * window.first_seq, 1000 * window.last_seq)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=40), st.integers(1, 6), st.integers(1, 6))
def test_gaps_are_the_sample_numbers_missing_inside(steps: list[int], length: int, hop: int) -> None:
    seqs = np.cumsum(steps).tolist()
    for window in feed(Windower(length, hop), *seqs):
        inside = [seq for seq in seqs if window.first_seq <= seq <= window.last_seq]
        assert len(inside) == length
        assert window.gaps == window.last_seq - window.first_seq + 1 - length


def test_windows_do_not_share_memory_with_what_comes_later() -> None:
    windower = Windower(2, 1)
    first = feed(windower, 0, 1)[0]
    feed(windower, 2, 3)
    assert first.values[:, 0].tolist() == [0, 1]


def test_a_source_that_starts_over_starts_a_new_window() -> None:
    windower = Windower(3, 3)
    windows = feed(windower, 5, 6, 0, 1, 2)
    assert [(window.first_seq, window.last_seq) for window in windows] == [(0, 2)]
    assert windower.discarded == 2


def test_a_sample_of_another_width_costs_one_window_and_no_more() -> None:
    windower = Windower(2, 2)
    widths = [2, 2, 2, 1, 2, 2, 2, 2]
    windows = [window for seq, width in enumerate(widths) for window in windower.push(sample(seq, *[1.0] * width))]
    assert [window.first_seq for window in windows] == [0, 4, 6]
    assert windower.discarded == 2


def test_a_new_width_that_stays_is_accepted() -> None:
    windower = Windower(1, 1)
    assert [windower.push(sample(seq, *[0.0] * width))[0].values.shape[1] for seq, width in enumerate([2, 3, 3])] == [2, 3, 3]


def test_label_is_that_of_the_last_sample() -> None:
    windower = Windower(2, 2)
    windower.push(sample(0, label=1))
    (window,) = windower.push(sample(1, label=2))
    assert window.label == 2


@pytest.mark.parametrize(("length", "hop"), [(0, 1), (1, 0), (-1, 1)])
def test_lengths_below_one_are_refused(length: int, hop: int) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        Windower(length, hop)


def block(seq: int, rows: int, channels: int = 2) -> Sample:
    """The same readings that ``sample`` gives one by one."""
    numbers = np.arange(seq, seq + rows, dtype=np.float32)
    values = np.stack([numbers, -numbers], axis=1)[:, :channels]
    return Sample("s", seq, 1000 * seq, values if rows > 1 else values[0], None, rows, 1000)


@given(length=st.integers(1, 9), hop=st.integers(1, 12), steps=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 20)), max_size=12))
def test_blocks_give_the_windows_that_their_readings_give_one_by_one(length: int, hop: int, steps: list[tuple[int, int]]) -> None:
    apart, together = Windower(length, hop), Windower(length, hop)
    expected: list[Window] = []
    got: list[Window] = []
    seq = 0
    for missing, rows in steps:
        seq += missing
        made = together.needs <= rows
        got += together.push(block(seq, rows))
        assert made == bool(got and got[-1].last_seq >= seq), "a window comes when what it needs has come"
        expected += [window for one in range(seq, seq + rows) for window in apart.push(sample(one))]
        seq += rows
    assert [(w.seq, w.first_seq, w.last_seq, w.start_ns, w.end_ns, w.gaps, w.settles) for w in got] == [
        (w.seq, w.first_seq, w.last_seq, w.start_ns, w.end_ns, w.gaps, w.settles) for w in expected
    ]
    assert all(np.array_equal(one.values, other.values) for one, other in zip(got, expected, strict=True))


@given(
    length=st.integers(1, 6),
    hop=st.integers(1, 8),
    steps=st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 9), st.integers(1, 2)), max_size=20),
)
def test_every_sample_is_settled_once_or_discarded_or_still_held(length: int, hop: int, steps: list[tuple[int, int, int]]) -> None:
    windower = Windower(length, hop)
    pushed = settled = seq = 0
    for jump, rows, channels in steps:
        seq = max(0, seq + jump)
        settled += sum(window.settles for window in windower.push(block(seq, rows, channels)))
        pushed += rows
        seq += rows
        held = pushed - settled - windower.discarded
        assert 0 <= held < length + hop


def test_a_frame_passes_through_without_a_copy_in_its_own_type() -> None:
    frame = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    windows = [window for seq in range(5) for window in Windower(1, 1).push(Sample("s", seq, seq, frame))]
    assert all(window.values is frame for window in windows) and len(windows) == 5
    windower = Windower(1, 2)
    kept = [window for seq in range(5) for window in windower.push(Sample("s", seq, seq, frame))]
    assert [(window.first_seq, window.settles) for window in kept] == [(0, 1), (2, 2), (4, 2)]


def test_windows_of_several_frames_keep_their_type_and_begin_anew_when_the_size_changes() -> None:
    windower = Windower(2, 2)
    small, large = np.ones((2, 2, 3), np.uint8), np.ones((4, 4, 3), np.uint8)
    made = [
        window for seq, frame in enumerate([small, small, small, large, large]) for window in windower.push(Sample("s", seq, seq, frame))
    ]
    assert [(window.values.shape, window.values.dtype) for window in made] == [((2, 2, 2, 3), np.uint8), ((2, 4, 4, 3), np.uint8)]
    assert windower.discarded == 1


def test_whole_numbers_of_a_flat_sample_become_floats() -> None:
    (window,) = Windower(1, 1).push(Sample("s", 0, 0, np.array([1, 2], np.int16)))
    assert window.values.dtype == np.float32 and window.values.tolist() == [[1, 2]]


def test_windows_by_count_or_by_time_are_chosen_by_length_s() -> None:
    assert isinstance(open_windower(4, 2), Windower)
    assert isinstance(open_windower(4, 2, length_s=1.0), TimeWindower)
