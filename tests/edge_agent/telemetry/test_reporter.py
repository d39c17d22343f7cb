"""Metrics every interval, events at once, and a flood of the same event is not a flood of messages."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from waiting import wait_for

from edge_agent.clock import Clock, ManualClock, SystemClock
from edge_agent.protocol.codec import decode
from edge_agent.protocol.messages import EventMessage, MetricsMessage
from edge_agent.protocol.topics import Topics
from edge_agent.telemetry.limit import RepeatLimit
from edge_agent.telemetry.probe import Probe
from edge_agent.telemetry.reporter import Reporter
from edge_agent.values import Event, ModelStatus, PipelineCounters, PipelineStatus

TOPICS = Topics("d1")


class SentMessages:
    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, int]] = []

    def put(self, topic: str, payload: bytes, *, keep: int = 0, retain: bool = False, wait: bool = True) -> None:
        self.sent.append((topic, payload, keep))

    def queued(self) -> int:
        return 4

    def dropped(self) -> int:
        return 2

    def events(self) -> list[EventMessage]:
        return [decode(EventMessage, payload) for topic, payload, _ in self.sent if topic == TOPICS.events]

    def metrics(self) -> list[MetricsMessage]:
        return [decode(MetricsMessage, payload) for topic, payload, _ in list(self.sent) if topic == TOPICS.metrics]


class Engine:
    broken = False

    def models(self) -> tuple[ModelStatus, ...]:
        return (ModelStatus("digits", "1", "", "serving", os.getpid(), 0, 10, 0),)

    def pipelines(self) -> tuple[PipelineStatus, ...]:
        if self.broken:
            raise RuntimeError("no answer")
        return (PipelineStatus("line", "digits", "1", "running", None, 0, PipelineCounters(processed=5), {}),)

    def processes(self) -> tuple[tuple[str, int], ...]:
        return (("zygote", os.getppid()),)


class Sensors:
    def temperature_c(self) -> float | None:
        return None

    def throttling(self) -> tuple[str, ...] | None:
        return None

    def power_mode(self) -> str | None:
        return None


def reporter(outbox: SentMessages, folder: Path, *, clock: Clock | None = None, interval_s: float = 0.01, engine: Any = None) -> Reporter:
    clock = clock or SystemClock()
    return Reporter(
        device="d1",
        interval_s=interval_s,
        engine=engine or Engine(),
        probe=Probe(board=Sensors(), clock=clock),
        outbox=outbox,
        topics=TOPICS,
        clock=clock,
        state_dir=folder,
    )


def event(kind: str = "worker_died", message: str = "digits: SIGKILL", **data: Any) -> Event:
    return Event(kind, "error", message, 0, data)


def test_metrics_come_every_interval_numbered_and_complete(tmp_path: Path) -> None:
    outbox = SentMessages()
    one = reporter(outbox, tmp_path)
    assert one.latest() is None
    one.start()
    wait_for(lambda: len(outbox.metrics()) >= 3, what="three messages")
    one.stop()
    found = outbox.metrics()
    assert [m.seq for m in found] == list(range(len(found)))
    assert [p.role for p in found[0].processes] == ["control", "zygote"]
    assert found[0].processes[0].cpu_percent is not None
    assert (found[0].outbox_queued, found[0].outbox_dropped) == (4, 2)
    assert found[0].models[0].rss_mib is not None
    assert one.latest() == found[-1]
    assert {keep for topic, _, keep in outbox.sent if topic == TOPICS.metrics} == {0}


def test_a_measurement_that_fails_is_an_event_and_the_next_one_is_made(tmp_path: Path) -> None:
    outbox, engine = SentMessages(), Engine()
    engine.broken = True
    one = reporter(outbox, tmp_path, engine=engine)
    one.start()
    wait_for(lambda: outbox.events(), what="the event")
    engine.broken = False
    wait_for(lambda: outbox.metrics(), what="metrics again")
    one.stop()
    assert outbox.events()[0].kind == "telemetry_failed"
    assert "no answer" in outbox.events()[0].message


def test_an_event_is_sent_with_its_data_and_debug_is_not(tmp_path: Path) -> None:
    outbox = SentMessages()
    one = reporter(outbox, tmp_path, clock=ManualClock())
    one.events(event(model="digits", signal=9))
    one.events(Event("noise", "debug", "x", 0))
    (found,) = outbox.events()
    assert (found.device, found.kind, found.level, found.message) == ("d1", "worker_died", "error", "digits: SIGKILL")
    assert found.data == {"model": "digits", "signal": 9}
    assert outbox.sent[0][2] == 1


def test_repeats_are_counted_instead_of_sent_and_come_again_later(tmp_path: Path) -> None:
    outbox, clock = SentMessages(), ManualClock()
    one = reporter(outbox, tmp_path, clock=clock)
    for _ in range(50):
        one.events(event())
    one.events(event(message="another"))
    assert len(outbox.events()) == 6
    clock.advance_s(61)
    one.events(event())
    assert outbox.events()[-1].data == {"suppressed": 45}


def test_many_different_messages_of_one_kind_are_limited_too(tmp_path: Path) -> None:
    outbox = SentMessages()
    one = reporter(outbox, tmp_path, clock=ManualClock())
    for n in range(500):
        one.events(event(message=f"number {n}"))
    assert len(outbox.events()) == 60


def test_data_that_cannot_be_sent_does_not_lose_the_event(tmp_path: Path) -> None:
    outbox = SentMessages()
    reporter(outbox, tmp_path, clock=ManualClock()).events(event(message="bad \udcff name", path=Path("/x")))
    (found,) = outbox.events()
    assert found.kind == "worker_died"
    assert "unsendable" in found.data


def test_events_from_many_threads_are_all_sent(tmp_path: Path) -> None:
    outbox = SentMessages()
    one = reporter(outbox, tmp_path)
    threads = [threading.Thread(target=one.events, args=(event(kind=f"k{n}"),)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {e.kind for e in outbox.events()} == {f"k{n}" for n in range(20)}


@given(st.lists(st.floats(0, 5), max_size=80))
def test_never_more_than_the_burst_and_the_rate_allow_and_every_silence_is_counted(pauses_s: list[float]) -> None:
    limit, now_s, admitted, counted, silent = RepeatLimit(burst=3, per_s=0.5), 0.0, 0, 0, 0
    for pause_s in pauses_s:
        now_s += pause_s
        verdict = limit.admit("k", now_s)
        if verdict is None:
            silent += 1
        else:
            admitted += 1
            counted += verdict
    assert admitted <= 3 + now_s * 0.5 + 1e-6
    assert counted <= silent
    assert counted + admitted + silent >= len(pauses_s)


def test_the_number_of_keys_is_bounded() -> None:
    limit = RepeatLimit(burst=1, per_s=0.0, keys=10)
    for n in range(100):
        limit.admit(f"k{n}", 0.0)
    assert limit.admit("k99", 0.0) is None
    assert limit.admit("k0", 0.0) == 0
