from __future__ import annotations

import select
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from waiting import wait_for

from edge_agent.clock import SystemClock
from edge_agent.errors import SourceEnded, SourceError
from edge_agent.pipeline.inbox import Inbox
from edge_agent.pipeline.intake import LONGEST_PAUSE_S, Intake, pause_s
from edge_agent.values import Sample

Told = list[tuple[str, str, str]]


class Script:
    """A source that does one thing after another: gives a sample, or raises."""

    name = "script"

    def __init__(self, *acts: Exception | None) -> None:
        self._acts = list(acts)
        self._given = 0
        self.garbage = 0
        self.opened = 0
        self.closed = 0

    def open(self) -> None:
        self.opened += 1

    def read(self, timeout_s: float) -> Sample | None:
        if not self._acts:
            raise SourceEnded
        act = self._acts.pop(0)
        if act is not None:
            raise act
        self._given += 1
        return Sample(self.name, self._given - 1, 0, (0.0,))

    def close(self) -> None:
        self.closed += 1


def intake_of(source: Script, capacity: int = 100) -> tuple[Intake, Told]:
    told: Told = []
    tell: Callable[[str, str, str], None] = lambda kind, level, text: told.append((kind, level, text))  # noqa: E731
    return Intake(source, capacity, SystemClock(), tell, lambda: 0.9), told


def test_samples_come_out_in_order_and_the_end_is_known() -> None:
    intake, _ = intake_of(Script(None, None, None))
    intake.start()
    wait_for(lambda: intake.ended)
    taken = [intake.take() for _ in range(4)]
    assert [pair[0].seq for pair in taken if pair is not None] == [0, 1, 2]
    assert taken[3] is None


def test_a_full_queue_drops_the_oldest_and_counts_it() -> None:
    intake, _ = intake_of(Script(*[None] * 10), capacity=4)
    intake.start()
    wait_for(lambda: intake.ended)
    counts = intake.counts()
    assert (counts.produced, counts.dropped, counts.waiting) == (10, 6, 4)
    taken = intake.take()
    assert taken is not None and taken[0].seq == 6


class Noise(Script):
    """A source that gives a sample and, with it, some readings that are none."""

    def read(self, timeout_s: float) -> Sample | None:
        self.garbage += 7
        return super().read(timeout_s)


def test_readings_that_cannot_be_understood_are_told_at_the_first_and_at_every_tenfold() -> None:
    source = Noise(*[None] * 20)
    intake, told = intake_of(source)
    intake.start()
    wait_for(lambda: intake.ended)
    assert [kind for kind, _, _ in told] == ["source_garbage"] * 3
    assert [text.split(": ")[1].split()[0] for _, _, text in told] == ["7", "14", "105"]


def test_a_source_that_fails_is_opened_again_and_told_once_each_way() -> None:
    source = Script(None, SourceError("unplugged"), OSError("gone"), None, None)
    intake, told = intake_of(source)
    intake.start()
    wait_for(lambda: intake.ended)
    assert [kind for kind, _, _ in told] == ["source_lost", "source_back"]
    assert "unplugged" in told[0][2]
    assert (source.opened, intake.counts().produced, intake.last_error) == (3, 3, "")


def test_the_bell_rings_for_the_first_sample_and_for_the_end() -> None:
    intake, _ = intake_of(Script())
    intake.start()
    ready, _, _ = select.select([intake.bell_fd], [], [], 5.0)
    assert ready and intake.ended


def test_stopping_ends_a_source_that_waits_to_be_opened_again() -> None:
    source = Script(*[SourceError("never")] * 1000)
    intake, told = intake_of(source)
    intake.start()
    wait_for(lambda: told)
    intake.stop()
    assert not intake.ended
    assert source.opened < 10


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_are_capped_and_never_vanish(failures: int, jitter: float) -> None:
    assert 0.05 <= pause_s(failures, jitter) <= LONGEST_PAUSE_S
    assert pause_s(failures, 0.0) <= pause_s(failures + 1, 0.0)


def test_a_full_inbox_drops_the_oldest_and_counts_it() -> None:
    inbox = Inbox(capacity=2)
    for number in range(5):
        inbox.put("t", bytes([number]))
    assert [inbox.get(0), inbox.get(0), inbox.get(0)] == [("t", b"\x03"), ("t", b"\x04"), None]
    assert inbox.lost == 3
