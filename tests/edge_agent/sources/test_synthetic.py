"""Signals made up by rule: the same options give the same numbers, in blocks or one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import ManualClock
from edge_agent.errors import SourceEnded
from edge_agent.sources.synthetic import SIGNALS, open_source


def play(count: int, **options: Any) -> Any:
    """The first ``count`` readings as an array (count, *shape)."""
    source = open_source("s", {"rate_hz": 0, "limit": count, **options}, clock=ManualClock())
    source.open()
    parts = []
    with pytest.raises(SourceEnded):
        while True:
            sample = source.read(0.0)
            assert sample is not None
            parts.append(sample.values if sample.rows > 1 else sample.values[np.newaxis])
    return np.concatenate(parts)


@given(
    signal=st.sampled_from(SIGNALS),
    block=st.integers(1, 9),
    seed=st.integers(0, 5),
    channels=st.integers(1, 4),
    noise=st.sampled_from([0.0, 0.3]),
)
def test_the_same_options_give_the_same_numbers_in_any_block(signal: str, block: int, seed: int, channels: int, noise: float) -> None:
    options = {"signal": signal, "seed": seed, "channels": channels, "noise": noise, "frequency_hz": 3}
    apart, together = play(25, **options), play(25, block=block, **options)
    assert apart.shape == (25, channels) and np.array_equal(apart, together)
    if noise or signal == "noise":
        assert not np.array_equal(apart, play(25, **{**options, "seed": seed + 1}))


def test_shapes_of_the_signals() -> None:
    one_turn = {"frequency_hz": 25.0}  # without a rate, 100 readings a second: 4 a turn
    assert np.allclose(play(4, signal="sine", **one_turn)[:, 0], [0, 1, 0, -1], atol=1e-6)
    assert play(4, signal="square", amplitude=2, offset=1, **one_turn)[:, 0].tolist() == [3, 3, -1, -1]
    assert play(4, signal="ramp", **one_turn)[:, 0].tolist() == [-1, -0.5, 0, 0.5]
    assert play(2, signal="constant", amplitude=7)[:, 0].tolist() == [7, 7]
    noise = play(4000, signal="noise", amplitude=2.0, offset=5.0)
    assert abs(noise.mean() - 5) < 0.2 and abs(noise.std() - 2) < 0.2


def test_frames_in_whole_numbers_stay_in_their_range() -> None:
    frames = play(3, shape=[4, 5, 3], dtype="uint8", offset=128, amplitude=500, signal="noise")
    assert frames.shape == (3, 4, 5, 3) and frames.dtype == np.uint8
    assert {0, 255} <= set(frames.ravel().tolist())


def test_readings_are_due_at_the_pace_and_dated_when_they_were() -> None:
    clock = ManualClock()
    source = open_source("s", {"rate_hz": 100, "block": 4}, clock=clock)
    source.open()
    assert source.read(0.0) is None
    clock.advance_s(0.031)
    sample = source.read(0.0)
    assert sample is not None and (sample.seq, sample.rows, sample.t_ns, sample.period_ns) == (0, 4, 0, 10_000_000)
    clock.advance_s(1.0)
    assert [source.read(0.0).seq for _ in range(3)] == [4, 8, 12]  # type: ignore[union-attr]
    source.close()
    source.open()
    assert source.read(0.0) is None, "the schedule starts anew"


def test_the_limit_is_exact_with_blocks() -> None:
    assert len(play(10, block=4)) == 10
