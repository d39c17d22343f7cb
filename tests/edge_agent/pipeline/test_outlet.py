"""Every prediction to every sink, accounted for, whatever the sinks do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import prediction
from store_faults import tiny_disk
from waiting import wait_for

from edge_agent.clock import ManualClock, SystemClock
from edge_agent.errors import SinkError, SinkRefused
from edge_agent.pipeline.outlet import Outlet, sink_names
from edge_agent.pipeline.outlet_news import QUIET_NS
from edge_agent.ports import BatchSink, Sink
from edge_agent.sinks import jsonl
from edge_agent.sinks.terms import SinkTerms
from edge_agent.values import Delivery, Prediction, SinkCounts

DIRECT = SinkTerms(direct=True)


class Notebook:
    """A sink that takes down what it gets; ``mood`` is called first and may raise."""

    def __init__(self, name: str = "out", mood: Callable[[int], None] = lambda number: None) -> None:
        self.name = name
        self.mood = mood
        self.seen: list[int] = []
        self.threads: set[int] = set()
        self.flushes = 0
        self.closed = threading.Event()

    def emit(self, made: Prediction) -> None:
        self.threads.add(threading.get_ident())
        self.mood(made.window_seq)
        self.seen.append(made.window_seq)

    def flush(self) -> None:
        self.flushes += 1

    def close(self) -> None:
        self.closed.set()


class Ledger:
    """A sink that takes several at once."""

    def __init__(self, delivery: Delivery, mood: Callable[[], None] = lambda: None) -> None:
        self.name = "ledger"
        self.delivery = delivery
        self.mood = mood
        self.pages: list[list[int]] = []

    def emit_all(self, predictions: Sequence[Prediction]) -> None:
        self.mood()
        self.pages.append([made.window_seq for made in predictions])

    @property
    def entries(self) -> list[int]:
        return [number for page in self.pages for number in page]

    def flush(self) -> None: ...

    def close(self) -> None: ...


class Desk:
    """An outlet with one sink, and what it told."""

    def __init__(self, sink: Sink | BatchSink, terms: SinkTerms, clock: Any = None) -> None:
        self.sink = sink
        self.told: list[tuple[str, str, str]] = []
        self.outlet = Outlet([(sink, terms)], lambda *event: self.told.append(event), clock or SystemClock())

    def give(self, *numbers: int) -> None:
        for number in numbers:
            self.outlet.emit(prediction(number))

    @property
    def counts(self) -> SinkCounts:
        return exact(self.outlet.counts()[self.sink.name])

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.told]


def exact(counts: SinkCounts) -> SinkCounts:
    assert counts.given == counts.emitted + counts.dropped + counts.failed + counts.waiting
    return counts


def refuse(error: Exception) -> Callable[[int], None]:
    def mood(number: int) -> None:
        raise error

    return mood


def test_a_direct_sink_is_called_at_once_on_the_same_thread() -> None:
    sink = Notebook()
    desk = Desk(sink, DIRECT)
    desk.give(1, 2)
    assert sink.seen == [1, 2] and sink.threads == {threading.get_ident()}
    assert desk.counts == SinkCounts(2, 2, 0, 0, 0)
    desk.outlet.flush()
    desk.outlet.flush()
    assert sink.flushes == 1
    desk.outlet.close()
    assert sink.closed.is_set()


def test_a_queued_sink_has_a_thread_of_its_own_and_is_flushed_there() -> None:
    sink = Notebook()
    desk = Desk(sink, SinkTerms())
    desk.give(1, 2, 3)
    wait_for(lambda: sink.seen == [1, 2, 3] and sink.flushes == 1)
    assert threading.get_ident() not in sink.threads
    desk.outlet.close()
    assert sink.closed.is_set() and desk.counts == SinkCounts(3, 3, 0, 0, 0)


@pytest.mark.parametrize("terms", [DIRECT, SinkTerms()])
@pytest.mark.parametrize("error", [SinkRefused("not this one"), ZeroDivisionError("a driver's own"), MemoryError()])
def test_whatever_a_sink_raises_the_pipeline_goes_on(terms: SinkTerms, error: Exception) -> None:
    sink = Notebook(mood=refuse(error))
    desk = Desk(sink, terms)
    desk.give(1, 2)
    wait_for(lambda: desk.counts.failed == 2)
    sink.mood = lambda number: None
    desk.give(3)
    wait_for(lambda: sink.seen == [3] and not desk.outlet.last_error)
    desk.outlet.close()
    assert desk.counts == SinkCounts(3, 1, 0, 2, 0)
    assert desk.kinds == ["sink_lost", "sink_back"]
    assert all("out" in text for _, _, text in desk.told)


def test_a_queued_sink_that_is_away_gets_everything_when_it_is_back() -> None:
    away = threading.Event()

    def mood(number: int) -> None:
        if not away.is_set():
            raise SinkError("out: gone")

    sink = Notebook(mood=mood)
    desk = Desk(sink, SinkTerms())
    desk.give(*range(5))
    wait_for(lambda: desk.outlet.last_error)
    assert desk.counts == SinkCounts(5, 0, 0, 0, 5)
    away.set()
    wait_for(lambda: sink.seen == [0, 1, 2, 3, 4])
    desk.outlet.close()
    assert desk.counts == SinkCounts(5, 5, 0, 0, 0) and desk.kinds == ["sink_lost", "sink_back"]


def test_what_is_too_old_is_dropped() -> None:
    clock = ManualClock()
    hold, entered = threading.Event(), threading.Event()

    def mood(number: int) -> None:
        entered.set()
        assert hold.wait(10)

    sink = Notebook(mood=mood)
    desk = Desk(sink, SinkTerms(max_age_s=5), clock)
    desk.give(0)
    assert entered.wait(10)
    desk.give(1, 2)
    clock.advance_s(6)
    desk.give(3)
    hold.set()
    wait_for(lambda: sink.seen == [0, 3])
    assert wait_for(lambda: desk.counts.waiting == 0) and desk.counts == SinkCounts(4, 2, 2, 0, 0)
    desk.outlet.close()


class Stuck(Notebook):
    """Holds the first prediction until it is closed."""

    def __init__(self) -> None:
        super().__init__(mood=self.hold)
        self.entered = threading.Event()

    def hold(self, number: int) -> None:
        self.entered.set()
        assert self.closed.wait(20)


@pytest.mark.parametrize(
    ("terms", "dropped", "waiting"),
    [(SinkTerms(queue=3), 6, 4), (SinkTerms(policy="latest_only"), 8, 2), (SinkTerms(queue=300), 0, 10)],
)
def test_a_sink_that_hangs_delays_nobody_and_its_end_is_bounded(terms: SinkTerms, dropped: int, waiting: int) -> None:
    sink = Stuck()
    desk = Desk(sink, terms)
    desk.give(0)
    assert sink.entered.wait(10)
    desk.give(*range(1, 10))
    assert desk.counts == SinkCounts(10, 0, dropped, 0, waiting)
    desk.outlet.close(0.05)
    assert desk.counts == SinkCounts(10, 0, 10, 0, 0) and sink.closed.is_set()
    wait_for(lambda: len(sink.seen) == 1)
    assert desk.counts == SinkCounts(10, 0, 10, 0, 0), "what comes out after the end changes no account"
    desk.give(11)
    assert desk.counts == SinkCounts(11, 0, 11, 0, 0)


def test_a_blocking_sink_holds_the_pipeline_back_but_not_the_other_sinks() -> None:
    stuck, other = Stuck(), Notebook("other")
    told: list[Any] = []
    outlet = Outlet([(stuck, SinkTerms(queue=1, policy="block")), (other, DIRECT)], lambda *event: told.append(event), SystemClock())
    looks = 0

    def meanwhile() -> bool:
        nonlocal looks
        looks += 1
        return looks < 3

    outlet.meanwhile = meanwhile
    outlet.emit(prediction(0))
    assert stuck.entered.wait(10)
    outlet.emit(prediction(1))
    outlet.emit(prediction(2))
    assert looks == 3 and other.seen == [0, 1, 2]
    assert exact(outlet.counts()["out"]) == SinkCounts(3, 0, 1, 0, 2)
    outlet.close(0.0)


def test_a_blocking_sink_gets_everything() -> None:
    sink = Notebook()
    desk = Desk(sink, SinkTerms(queue=2, policy="block"))
    desk.give(*range(500))
    desk.outlet.close(10)
    assert sink.seen == list(range(500)) and desk.counts == SinkCounts(500, 500, 0, 0, 0)


def test_what_waits_is_sent_before_the_end() -> None:
    ledger = Ledger(Delivery(batch=100, every_s=3600))
    desk = Desk(ledger, SinkTerms())
    desk.give(*range(10))
    assert desk.counts.waiting == 10
    desk.outlet.close(10)
    assert ledger.pages == [list(range(10))] and desk.counts == SinkCounts(10, 10, 0, 0, 0)


def test_a_sink_that_is_away_does_not_hold_up_the_end() -> None:
    sink = Notebook(mood=refuse(SinkError("out: gone", pause_s=3600)))
    desk = Desk(sink, SinkTerms())
    desk.give(1, 2, 3)
    wait_for(lambda: desk.outlet.last_error)
    desk.outlet.close(60)
    assert desk.counts == SinkCounts(3, 0, 3, 0, 0) and sink.closed.is_set()


def test_batches_are_full_or_due() -> None:
    ledger = Ledger(Delivery(batch=3, every_s=0.05))
    desk = Desk(ledger, SinkTerms())
    desk.give(*range(7))
    wait_for(lambda: ledger.entries == list(range(7)))
    assert all(len(page) <= 3 for page in ledger.pages) and ledger.pages[-1][-1] == 6
    desk.outlet.close()


def test_a_batch_that_failed_is_given_again_whole_and_in_order() -> None:
    failures = [SinkError("ledger: 500"), SinkError("ledger: 500")]

    def mood() -> None:
        if failures:
            raise failures.pop()

    ledger = Ledger(Delivery(batch=4, every_s=0.0), mood)
    desk = Desk(ledger, SinkTerms())
    desk.give(*range(9))
    wait_for(lambda: desk.counts.emitted == 9)
    assert ledger.entries == list(range(9))
    desk.outlet.close()


def test_a_sink_that_comes_and_goes_is_no_flood_of_news() -> None:
    clock = ManualClock()
    sink = Notebook(mood=lambda number: refuse(SinkError("out: gone"))(number) if number % 2 else None)
    desk = Desk(sink, DIRECT, clock)
    desk.give(*range(100))
    assert desk.kinds == ["sink_lost", "sink_back"]
    clock.advance_s(QUIET_NS / 1e9)
    desk.give(*range(100))
    assert desk.kinds == ["sink_lost", "sink_back"] * 2
    assert desk.counts == SinkCounts(200, 100, 0, 100, 0)


def test_an_error_is_shown_until_its_sink_works() -> None:
    first, second = Notebook("first", refuse(SinkError("first: gone"))), Notebook("second", refuse(SinkError("second: gone")))
    outlet = Outlet([(first, DIRECT), (second, DIRECT)], lambda *event: None, SystemClock())
    outlet.emit(prediction())
    assert outlet.last_error == "first: gone"
    first.mood = lambda number: None
    outlet.emit(prediction())
    assert outlet.last_error == "second: gone"


@pytest.mark.parametrize("terms", [DIRECT, SinkTerms(queue=1000, policy="block")])
def test_a_full_disk_is_accounted_for_to_the_line(tmp_path: Path, terms: SinkTerms) -> None:
    with tiny_disk(tmp_path / "disk", size_kib=64) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(32 * 1024))
        desk = Desk(jsonl.open_sink("out", {"path": str(disk / "out.jsonl")}), terms)
        desk.give(*range(200))
        wait_for(lambda: desk.outlet.last_error)
        assert "No space left" in desk.outlet.last_error
        ballast.unlink()
        wait_for(lambda: not desk.counts.waiting)
        desk.give(*range(200, 210))
        desk.outlet.close(10)
        written = [json.loads(line)["window_seq"] for line in (disk / "out.jsonl").read_text().splitlines()]
    counts = desk.counts
    assert len(written) == counts.emitted == 210 - counts.failed and written[-10:] == list(range(200, 210))
    assert counts.failed == 0 or terms.direct
    assert desk.kinds == ["sink_lost", "sink_back"]


def test_sinks_of_one_kind_have_names_of_their_own() -> None:
    assert sink_names("line", ["mqtt", "jsonl", "mqtt", "mqtt"]) == ["line.mqtt", "line.jsonl", "line.mqtt.2", "line.mqtt.3"]
    with pytest.raises(ValueError, match="one name"):
        Outlet([(Notebook(), DIRECT), (Notebook(), DIRECT)], lambda *event: None, SystemClock())


@settings(max_examples=25)
@given(
    st.lists(st.sampled_from(["takes", "later", "never", "breaks"]), min_size=1, max_size=40),
    st.sampled_from(["block", "drop_oldest", "latest_only"]),
    st.integers(1, 5),
)
def test_every_prediction_is_accounted_for_whatever_happens(moods: list[str], policy: str, queue: int) -> None:
    left = list(moods)
    errors = {"later": SinkError("out: later"), "never": SinkRefused("out: never"), "breaks": ValueError("out: broken")}

    def mood(number: int) -> None:
        error = errors.get(left.pop() if left else "takes")
        if error is not None:
            raise error

    sink = Notebook(mood=mood)
    desk = Desk(sink, SinkTerms(queue=queue, policy=policy, max_age_s=60))
    desk.outlet.meanwhile = lambda: False
    for number in range(len(moods) + 5):
        desk.give(number)
        assert desk.counts.given == number + 1
    desk.outlet.close(0.5)
    counts = desk.counts
    assert counts.waiting == 0 and counts.emitted == len(sink.seen) and sink.seen == sorted(set(sink.seen))
