"""The soak's books: what they must notice, each shown to them once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from benchmarks.inference.soaking.clients import Failure
from benchmarks.inference.soaking.faults import Fault
from benchmarks.inference.soaking.feed import Feed
from benchmarks.inference.soaking.house import WIRE, House
from benchmarks.inference.soaking.ledger import Ledger, Tail
from benchmarks.inference.soaking.numbered import is_answer, number_of, numbered_bundle, reading, weights
from benchmarks.inference.soaking.swaps import Swaps, Update
from benchmarks.inference.soaking.verdict import explained
from benchmarks.inference.soaking.watch import Watch
from edge_agent.bundle.archive import read_bundle

NS = 1_000_000_000


def answer(number: int, seed: int = 1) -> list[float]:
    x = reading(number)
    return [sum(w * v for w, v in zip(row, (*x, 1.0), strict=True)) for row in weights(seed)] + [x[0], x[1]]


def line(number: int, *, seq: int | None = None, seed: int = 1, version: str = "1.0.1", window: int | None = None, **other: Any) -> bytes:
    """What the wire's file says of a reading."""
    seq = number if seq is None else seq
    times = {"infer_us": 100.0, "postprocess_us": 10.0, "total_us": 200.0}
    tree = {
        "window_seq": seq if window is None else window,
        "first_seq": seq,
        "last_seq": seq,
        "t_ns": (1000 + number) * NS,
        "times": times,
    }
    return json.dumps({**tree, "version": version, "scores": answer(number, seed), "expected": number, **other}).encode() + b"\n"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    feed = Feed(tmp_path / "wire.sock")
    feed.firsts = [0, 50]
    return Ledger(WIRE, tmp_path / "wire.jsonl", Swaps(House(tmp_path)), feed, lambda connection: False)


def found(ledger: Ledger, tmp_path: Path, *written: bytes) -> list[str]:
    (tmp_path / "wire.jsonl").write_bytes(b"".join(written))
    ledger.read()
    ledger.check_versions(all_of_them=True)
    return ledger.violations


def test_what_is_whole_is_no_violation(ledger: Ledger, tmp_path: Path) -> None:
    assert not found(ledger, tmp_path, *(line(number) for number in range(100)))
    assert ledger.counts["lines"] == 100 and len(ledger.lives) == 1 and ledger.lives[0].missing == 0


def test_a_reading_that_is_answered_twice(ledger: Ledger, tmp_path: Path) -> None:
    assert "answered twice" in found(ledger, tmp_path, line(0), line(1), line(1, seq=2))[0]


def test_a_reading_that_was_sent_and_never_counted(ledger: Ledger, tmp_path: Path) -> None:
    assert "never counted" in found(ledger, tmp_path, line(0), line(1), line(3, seq=2))[0]


def test_a_sample_that_is_left_out_is_missing_until_it_is_counted(ledger: Ledger, tmp_path: Path) -> None:
    assert not found(ledger, tmp_path, line(0), line(1), line(4, window=2))
    assert ledger.lives[0].missing == 2


def test_an_answer_to_another_reading(ledger: Ledger, tmp_path: Path) -> None:
    assert found(ledger, tmp_path, line(0), line(1, scores=answer(2)))


def test_an_answer_of_other_weights_than_the_version_has(ledger: Ledger, tmp_path: Path) -> None:
    assert found(ledger, tmp_path, line(0, seed=2))


def test_what_a_process_had_when_it_ended_is_counted_by_the_next(ledger: Ledger, tmp_path: Path) -> None:
    assert not found(ledger, tmp_path, line(0), line(1), line(2), line(7, seq=0), line(8, seq=1))
    assert [life.lost_after for life in ledger.lives] == [4, 0]


def test_a_version_that_answers_after_its_switch(tmp_path: Path) -> None:
    swaps = Swaps(House(tmp_path))
    swaps.updates.append(Update(1002 * NS, "1.0.1", "1.0.2", 1004 * NS, "1.0.2", "done"))
    feed = Feed(tmp_path / "wire.sock")
    ledger = Ledger(WIRE, tmp_path / "wire.jsonl", swaps, feed, lambda connection: False)
    versions = [1, 1, 1, 2, 1, 2]  # the last 1 came when 2 served for good
    written = [line(number, seed=seed, version=f"1.0.{seed}") for number, seed in enumerate(versions)]
    assert len(found(ledger, tmp_path, *written)) == 1
    assert "sample 4" in ledger.violations[0]


def test_a_tail_reads_over_a_rotation_and_a_line_cut_back(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    tail = Tail(path)
    assert tail.lines() == []
    path.write_bytes(b"one\ntw")
    assert tail.lines() == [b"one"]
    os.truncate(path, 4)
    with path.open("ab") as more:
        more.write(b"two\n")
    assert tail.lines() == [b"two"]
    with path.open("ab") as more:
        more.write(b"three\n")
    path.rename(tmp_path / "a.jsonl.1")
    path.write_bytes(b"four\n")
    assert tail.lines() == [b"three", b"four"]


def test_the_model_carries_the_number(tmp_path: Path) -> None:
    manifest, files = read_bundle(numbered_bundle(tmp_path / "n.edgemodel", 7))
    session = onnxruntime.InferenceSession(files[manifest.model_file.path], providers=["CPUExecutionProvider"])
    for number in (0, 1, 999, 1000, 123_456, 999_999):
        scores = session.run(None, {"x": np.array([reading(number)], np.float32)})[0][0].tolist()
        assert number_of(scores) == number and is_answer(scores, number, 7) and not is_answer(scores, number, 8)


def pipeline(**counters: int) -> dict[str, Any]:
    given = {"produced": 10, "processed": 7, "dropped": 1, "failed": 1, "in_flight": 1, **counters}
    return {"name": "wire", "pid": 1, "state": "running", "counters": given, "sinks": {}, "last_error": ""}


def test_a_status_that_does_not_add_up_and_a_count_that_goes_back(tmp_path: Path) -> None:
    watch = Watch(House(tmp_path))
    watch._account(pipeline(), 0)
    assert not watch.violations
    watch._account(pipeline(processed=8), 1)
    assert "produced is not" in watch.violations[0]
    watch._account(pipeline(processed=5, in_flight=3), 2)
    assert "went back" in watch.violations[1]


@pytest.mark.parametrize(
    ("status", "took_s", "fault", "right"),
    [
        (0, 0.1, Fault("api", "KILL", 0, 0), True),
        (0, 0.1, Fault("api", "PAUSE", 0, NS), False),
        (0, 0.1, Fault("worker:numbered@1", "KILL", 0, 0), False),
        (503, 0.1, Fault("worker:numbered@1", "KILL", 0, 0), False),
        (504, 5.0, Fault("zygote", "PAUSE", 0, NS), True),
        (504, 1.0, Fault("zygote", "PAUSE", 0, NS), False),
        (400, 6.0, Fault("agent", "KILL", 0, 0), False),
    ],
)
def test_a_failed_request_is_explained_by_what_ends_requests_and_by_nothing_else(
    status: int, took_s: float, fault: Fault, right: bool
) -> None:
    assert bool(explained(Failure(0, int(took_s * NS), status, "x"), [fault])) == right
