"""Streams of bytes: what comes out does not depend on how they arrive; and when their rows were captured."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import ManualClock
from edge_agent.errors import SourceError
from edge_agent.sources.decoder import Decoder, choose_decoder, next_sample
from edge_agent.sources.records import RecordForm
from edge_agent.sources.row_clock import RowClock
from edge_agent.values import DTYPES


def drained(decoder: Decoder, pieces: list[bytes]) -> list[tuple[int, list[Any]]]:
    """Numbers and values of every row."""
    rows = []
    for piece in pieces:
        decoder.feed(piece)
        while (sample := decoder.pop()) is not None:
            block = [sample.values] if sample.rows == 1 else sample.values
            rows += [(sample.seq + index, np.asarray(values).tolist()) for index, values in enumerate(block)]
    return rows


def prefixed(*messages: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(message)) + message for message in messages)


STREAMS = [
    ({"framing": "auto"}, b"1,2\n\nnoise\n[3,4]\n5"),
    ({"framing": "raw", "dtype": "int16", "shape": [2]}, bytes(range(23))),
    ({"framing": "raw", "dtype": "uint8", "shape": [2, 2]}, bytes(range(23))),
    ({"framing": "prefixed"}, prefixed(b"1,2", b"noise", b'{"values":[3]}')),
    ({"framing": "prefixed", "dtype": "float32", "shape": [2]}, prefixed(bytes(8), bytes(24), bytes(9))),
]


@pytest.mark.parametrize(("options", "stream"), STREAMS, ids=lambda value: str(value)[:40])
@given(cuts=st.lists(st.integers(0, 60), max_size=8))
def test_rows_do_not_depend_on_how_bytes_arrive(options: dict[str, Any], stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    whole, apart = (choose_decoder("s", options, ManualClock()) for _ in range(2))
    rows = drained(whole, [stream])
    assert rows and rows == drained(apart, pieces) and whole.garbage == apart.garbage
    assert [seq for seq, _ in rows] == list(range(len(rows)))


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("word", list(DTYPES))
def test_every_type_of_number(word: str, order: str) -> None:
    form = RecordForm.of({"dtype": word, "byte_order": order, "shape": [3]})
    data = np.array([0, 1, 1], form.dtype).tobytes()
    assert form.record_bytes == len(data)
    decoder = choose_decoder("s", {"framing": "raw", "dtype": word, "byte_order": order, "shape": [3]}, ManualClock())
    decoder.feed(data)
    sample = decoder.pop()
    assert sample is not None and sample.values.tolist() == [0, 1, 1] and sample.values.dtype == np.dtype(word)


def test_after_a_cut_nothing_of_before_is_mixed_in() -> None:
    for options, before, after, values in (
        ({"framing": "csv"}, b"1,", b"2\n", [2]),
        ({"framing": "raw", "dtype": "uint8", "shape": [2]}, b"\1", b"\2\3", [2, 3]),
        ({"framing": "prefixed"}, b"\0\0", prefixed(b"[7]"), [7]),
    ):
        decoder = choose_decoder("s", options, ManualClock())
        decoder.feed(before)
        decoder.reset()
        assert drained(decoder, [after]) == [(0, values)]


def test_noise_that_never_ends_does_not_hold_the_reader() -> None:
    clock = ManualClock()

    def noise(timeout_ms: float) -> bytes:
        clock.advance_s(0.05)
        return b"?\n" * 100

    decoder = choose_decoder("s", {}, clock)
    assert next_sample(decoder, noise, clock, 0.2) is None
    assert decoder.garbage == 400


@given(st.binary(max_size=64))
def test_any_bytes_in_messages(data: bytes) -> None:
    decoder = choose_decoder("s", {"framing": "prefixed", "max_message_bytes": 20}, ManualClock())
    try:
        drained(decoder, [data])
    except SourceError as error:
        assert "1 to 20 are allowed" in str(error)


def test_rows_are_dated_by_their_count_and_held_to_the_clock() -> None:
    clock = ManualClock()
    rows = RowClock(1000.0, clock)
    clock.advance_s(1.0)
    assert rows.stamp(100) == 1_000_000_000 - 99_000_000, "the last row came just now"
    clock.advance_s(0.3)  # the reader was late by 200 ms; the sensor was not
    assert abs(rows.stamp(100) - 1_001_000_000) < 4_000_000
    clock.advance_s(0.0)
    assert abs(rows.stamp(100) - 1_101_000_000) < 8_000_000
    clock.advance_s(5.0)  # so late that rows are missing
    assert rows.stamp(100) == 6_300_000_000 - 99_000_000


@given(
    steps=st.lists(st.tuples(st.integers(1, 500), st.floats(0, 2)), min_size=1, max_size=40), rate_hz=st.sampled_from([0.0, 10.0, 16_000.0])
)
def test_times_never_go_back(steps: list[tuple[int, float]], rate_hz: float) -> None:
    clock = ManualClock()
    clock.advance_s(100)
    rows = RowClock(rate_hz, clock)
    last_ns = 0
    for count, pause_s in steps:
        clock.advance_s(pause_s)
        first_ns = rows.stamp(count)
        assert first_ns >= last_ns
        last_ns = first_ns + (count - 1) * rows.period_ns


@given(drift=st.floats(-0.002, 0.002))
def test_a_sensor_whose_clock_is_off_is_followed(drift: float) -> None:
    clock = ManualClock()
    rows = RowClock(1000.0, clock)
    for _ in range(2000):
        clock.advance_s(0.1 * (1 + drift))
        first_ns = rows.stamp(100)
    assert abs(first_ns + 99_000_000 - clock.monotonic_ns()) < 20_000_000
