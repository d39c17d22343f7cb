"""Replays of recordings: what comes, when it is due, and how it ends."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.clock import ManualClock, SystemClock
from edge_agent.errors import SourceEnded, SourceError
from edge_agent.sources.replay import ReplaySource, open_source
from edge_agent.values import Sample

ROWS = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]


@pytest.fixture(params=["npz", "csv", "csv with header", "jsonl", "jsonl lists"])
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same three samples in every format."""
    kind = request.param.split()[0]
    path = tmp_path / f"r.{kind}"
    if kind == "npz":
        np.savez(path, x=np.array(ROWS, np.float32))
    elif request.param == "csv":
        path.write_text("0,1\n2,3\n4,5")
    elif kind == "csv":
        path.write_text('"a","b"\n0,1\n2,3\n4,5\n')
    elif request.param == "jsonl":
        path.write_text("".join(json.dumps({"values": row}) + "\n" for row in ROWS))
    else:
        path.write_text("\n\n".join(map(json.dumps, ROWS)))
    return path


def opened(path: Path, clock: Any = None, **options: Any) -> ReplaySource:
    source = open_source("s", {"path": str(path), **options}, clock=clock)
    source.open()
    return source


def drain(source: ReplaySource, most: int = 100) -> list[Sample]:
    """Every sample until the end, at most ``most``."""
    samples = []
    try:
        for _ in range(most):
            sample = source.read(0.0)
            assert sample is not None
            samples.append(sample)
    except SourceEnded:
        pass
    return samples


def test_every_format_gives_the_samples_in_order_and_ends(recording: Path) -> None:
    source = opened(recording)
    samples = drain(source)
    assert [list(sample.values) for sample in samples] == ROWS
    assert [(sample.source, sample.seq, sample.label) for sample in samples] == [("s", 0, None), ("s", 1, None), ("s", 2, None)]
    with pytest.raises(SourceEnded, match=recording.name):
        source.read(0.0)


def test_a_loop_goes_on_counting(recording: Path) -> None:
    samples = drain(opened(recording, loop=True), most=8)
    assert [sample.seq for sample in samples] == list(range(8))
    assert [list(sample.values) for sample in samples] == list(itertools.islice(itertools.cycle(ROWS), 8))


@pytest.mark.parametrize("loop", [False, True])
def test_limit_ends_it(recording: Path, loop: bool) -> None:
    assert len(drain(opened(recording, loop=loop, limit=2))) == 2


def test_labels_come_with_their_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2, 2)), y=np.array([5, 6, 7]))
    (tmp_path / "a.csv").write_text("p,label,q\n1,5,2\n3,6,4\n5,7,6\n")
    (tmp_path / "a.jsonl").write_text('{"values": [1], "label": 5}\n{"values": [1], "label": 6}\n{"values": [1], "label": 7}\n')
    for name, width in (("a.npz", 4), ("a.csv", 2), ("a.jsonl", 1)):
        samples = drain(opened(tmp_path / name))
        assert [(sample.label, len(sample.values)) for sample in samples] == [(5, width), (6, width), (7, width)]


def test_a_samples_file_of_the_converter_plays_as_it_is(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=np.zeros((3, 2, 2)), labels=np.array([5, 6, 7]), calibrate=np.array([0, 1]))
    assert [(sample.label, len(sample.values)) for sample in drain(opened(tmp_path / "a.npz"))] == [(5, 4), (6, 4), (7, 4)]


def test_samples_are_due_at_the_rate_and_not_before(recording: Path) -> None:
    clock = ManualClock()
    source = opened(recording, clock, rate_hz=10.0, loop=True)
    assert source.read(0.0) is not None
    assert source.read(0.0) is None
    clock.advance_s(0.099)
    assert source.read(0.0) is None
    clock.advance_s(0.0011)
    second = source.read(0.0)
    assert second is not None and second.t_ns == 100_000_000


def test_a_late_reader_catches_up_and_the_schedule_does_not_drift(recording: Path) -> None:
    clock = ManualClock()
    source = opened(recording, clock, rate_hz=10.0, loop=True)
    clock.advance_s(1.05)
    late = [source.read(0.0) for _ in range(12)]
    assert [sample.t_ns for sample in late if sample] == [number * 100_000_000 for number in range(11)]
    assert late[-1] is None


def test_as_fast_as_read_is_timed_when_read(recording: Path) -> None:
    clock = ManualClock()
    source = opened(recording, clock)
    clock.advance_s(3)
    sample = source.read(0.0)
    assert sample is not None and sample.t_ns == 3_000_000_000


def test_reading_waits_for_the_real_clock(recording: Path) -> None:
    clock = SystemClock()
    source = opened(recording, clock, rate_hz=100.0)
    for _ in range(3):
        sample = None
        while sample is None:
            sample = source.read(1.0)
        assert clock.monotonic_ns() >= sample.t_ns


def test_opened_again_it_goes_on_where_it_was(recording: Path) -> None:
    clock = ManualClock()
    source = opened(recording, clock, rate_hz=1.0)
    source.read(0.0)
    source.close()
    clock.advance_s(60)
    source.open()
    again = source.read(0.0)
    assert again is not None and (again.seq, list(again.values), again.t_ns) == (1, ROWS[1], 60_000_000_000)
    assert source.read(0.0) is None, "the pause must not be caught up with a burst"


def test_garbage_lines_are_counted_and_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2\nhello\n3,4\n5,\n")
    source = opened(tmp_path / "a.csv")
    assert [list(sample.values) for sample in drain(source)] == [[1, 2], [3, 4]]
    assert source.garbage == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.npz", b""),
        ("a.npz", b"PK\x03\x04 not really"),
        ("a.csv", b""),
        ("a.csv", b"only,a,header\n"),
        ("a.jsonl", b"nothing here\n" * 5),
    ],
)
@pytest.mark.parametrize("loop", [False, True])
def test_a_recording_without_samples_is_an_error_and_not_an_endless_search(tmp_path: Path, name: str, content: bytes, loop: bool) -> None:
    (tmp_path / name).write_bytes(content)
    source = opened(tmp_path / name, loop=loop)
    for _ in range(2):
        with pytest.raises(SourceError, match=name):
            source.read(0.0)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"p": np.zeros(3), "q": np.zeros(3)}, "name the samples x"),
        ({"y": np.zeros(3)}, "name the samples x"),
        ({"x": np.array(["a", "b"])}, "array x has type"),
        ({"x": np.float32(1)}, "array x"),
        ({"x": np.zeros((0, 3))}, "no samples"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(3)}, "array y has type float64"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(2, int)}, "array y"),
        ({"x": np.array([None, 1], object)}, "cannot be read"),
    ],
)
def test_arrays_that_are_no_samples_are_named(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(SourceError, match=words):
        opened(tmp_path / "a.npz").read(0.0)


def test_missing_file_is_an_error_at_open(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.csv: there is no such file"):
        opened(tmp_path / "none.csv")
