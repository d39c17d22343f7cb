from __future__ import annotations

import select
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import wait_for

from edge_agent.clock import ManualClock, SystemClock
from edge_agent.errors import SourceEnded, SourceError
from edge_agent.pipeline.inbox import Inbox
from edge_agent.pipeline.intake import LONGEST_PAUSE_S, Intake, pause_s, waiting_room
from edge_agent.pipeline.window import Windower
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


def intake_of(source: Script, capacity: int = 100, policy: str = "drop_oldest") -> tuple[Intake, Told]:
    told: Told = []
    tell: Callable[[str, str, str], None] = lambda kind, level, text: told.append((kind, level, text))  # noqa: E731
    return Intake(source, capacity, SystemClock(), tell, lambda: 0.9, policy), told


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


def test_block_loses_nothing_and_reads_no_further_than_it_has_room() -> None:
    source = Script(*[None] * 50)
    intake, _ = intake_of(source, 4, "block")
    intake.start()
    wait_for(lambda: intake.counts().produced == 5)
    assert (intake.counts().waiting, intake.counts().dropped) == (5, 0)  # four, and the one in the reader's hand
    taken: list[int] = []
    while len(taken) < 50:
        pair = intake.take()
        if pair is None:
            select.select([intake.bell_fd], [], [], 5.0)
        else:
            taken.append(pair[0].seq)
    assert taken == list(range(50))
    wait_for(lambda: intake.ended)


def test_stopping_ends_a_reader_that_waits_for_room_and_counts_what_it_held() -> None:
    intake, _ = intake_of(Script(*[None] * 50), 2, "block")
    intake.start()
    wait_for(lambda: intake.counts().waiting == 3)
    intake.stop(5.0)
    counts = intake.counts()
    assert (counts.produced, counts.dropped, counts.waiting) == (3, 1, 2)


def test_with_latest_only_and_room_for_one_the_newest_waits() -> None:
    intake, _ = intake_of(Script(*[None] * 10), waiting_room("latest_only", 1024, 1, 1), "latest_only")
    intake.start()
    wait_for(lambda: intake.ended)
    assert [sample.seq for sample, _ in intake.take_all()] == [9]
    assert (intake.counts().produced, intake.counts().dropped, intake.take_all()) == (10, 9, [])


@given(queue=st.integers(1, 40), length=st.integers(2, 12), hop=st.integers(1, 14), ahead=st.integers(0, 40), flood=st.integers(1, 200))
def test_the_newest_window_of_all_that_waits_is_never_torn(queue: int, length: int, hop: int, ahead: int, flood: int) -> None:
    """However much was dropped before it: the rule of latest_only for windows of several samples."""
    windower = Windower(length, hop)
    for seq in range(ahead):
        windower.push(Sample("s", seq, seq, (float(seq),)))
    room = waiting_room("latest_only", queue, length, hop)
    first = ahead + max(0, flood - room)
    made = [window for seq in range(first, ahead + flood) for window in windower.push(Sample("s", seq, seq, (float(seq),)))]
    if flood >= room:
        assert made and made[-1].gaps == 0


def test_what_a_source_dropped_itself_is_produced_and_dropped() -> None:
    source = Script(None, None)
    source.lost = 3  # type: ignore[attr-defined]
    intake, _ = intake_of(source)
    intake.start()
    wait_for(lambda: intake.ended)
    counts = intake.counts()
    assert (counts.produced, counts.dropped, counts.waiting) == (5, 3, 2)


class Flapping(Script):
    """A program that says one thing and dies, again and again."""

    def __init__(self, clock: ManualClock, times: int) -> None:
        super().__init__(*[None, SourceError("died")] * times)
        self.opened_s: list[float] = []
        self._clock = clock

    def open(self) -> None:
        super().open()
        self.opened_s.append(self._clock.monotonic_ns() / 1e9)


def test_a_source_that_dies_soon_after_each_opening_is_opened_less_and_less_often() -> None:
    clock = ManualClock()
    intake = Intake(Flapping(clock, 7), 100, clock, lambda *_: None, lambda: 0.0)
    pauses: list[float] = []
    intake._stopping.wait = lambda timeout=None: pauses.append(timeout or 0.0) or False  # type: ignore[method-assign, func-returns-value]
    intake._run()
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_an_unknown_policy_and_no_room_are_refused() -> None:
    for capacity, policy in ((0, "block"), (1, "drop_newest")):
        with pytest.raises(ValueError, match="policy must be one of"):
            intake_of(Script(), capacity, policy)


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


def test_a_full_inbox_is_full_by_bytes_too() -> None:
    inbox = Inbox(capacity=100, max_bytes=10)
    for number in range(4):
        inbox.put("t", bytes([number]) * 4)
    assert [message[1][0] for message in iter(lambda: inbox.get(0), None) if message is not None] == [2, 3]
    assert inbox.lost == 2
    inbox.put("t", b"x" * 50)
    assert inbox.get(0) is None and inbox.lost == 3, "a message larger than all the room is lost itself"
