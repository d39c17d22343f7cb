"""Commands: carried out at most once, answered always, told until acknowledged."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_for

from edge_agent.clock import ManualClock, iso_utc
from edge_agent.commands import ID_CHARS, LINE_BUSY, REMEMBERED, CommandDesk, Outcome
from edge_agent.errors import CommandError, EdgeError, StoreFull
from edge_agent.protocol.codec import decode, encode
from edge_agent.protocol.messages import AckMessage, CommandMessage, ResultMessage
from edge_agent.protocol.topics import Topics
from edge_agent.transport.command_log import FileCommandLog

TOPICS = Topics("d1")
NOW_NS = 1_795_000_000_000_000_000


class SentMessages:
    """An outbox that writes down what it is given."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, int]] = []
        self.waiting = 0

    def put(self, topic: str, payload: bytes, *, keep: int = 0, retain: bool = False, wait: bool = True) -> None:
        self.sent.append((topic, payload, keep))

    def queued(self) -> int:
        return self.waiting

    def dropped(self) -> int:
        return 0

    def results(self) -> list[ResultMessage]:
        return [decode(ResultMessage, payload) for topic, payload, _ in list(self.sent) if topic == TOPICS.result]

    def told(self) -> list[tuple[str, str]]:
        return [(result.id, result.status) for result in self.results()]


class Bench:
    """A desk over a real log file, with handlers that count."""

    def __init__(self, path: Path, *, resend_s: float = 3600.0) -> None:
        self.path = path
        self.outbox = SentMessages()
        self.clock = ManualClock(wall_ns=NOW_NS)
        self.done: list[str] = []
        self.resend_s = resend_s
        self.desk = self.restart()

    def restart(self) -> CommandDesk:
        if hasattr(self, "desk"):
            self.desk.stop()
        self.desk = CommandDesk(
            device="d1",
            topics=TOPICS,
            log=FileCommandLog(self.path),
            outbox=self.outbox,
            clock=self.clock,
            handlers={"ping": self.ping, "deploy": self.deploy},
            resend_s=self.resend_s,
        )
        return self.desk

    def ping(self, command: CommandMessage) -> Outcome | None:
        self.done.append(command.id)
        return "done", "", {"pong": True}

    def deploy(self, command: CommandMessage) -> Outcome | None:
        self.done.append(command.id)
        if "refuse" in command.args:
            raise CommandError("args.model: is missing")
        if "fail" in command.args:
            raise EdgeError("the worker is gone")
        if "bug" in command.args:
            raise KeyError("oops")
        return None

    def send(self, command_id: str, kind: str = "ping", args: Mapping[str, Any] | None = None, expires: str = "") -> None:
        self.desk.receive(TOPICS.command, encode(CommandMessage(command_id, kind, args or {}, expires)))

    def ack(self, command_id: str) -> None:
        self.desk.receive(TOPICS.ack, encode(AckMessage(command_id)))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path / "commands.json")
    yield one
    one.desk.stop()


def test_a_quick_command_is_accepted_and_done(bench: Bench) -> None:
    bench.send("a")
    assert bench.outbox.told() == [("a", "accepted"), ("a", "done")]
    assert bench.outbox.results()[1].data == {"pong": True}
    assert [keep for _, _, keep in bench.outbox.sent] == [1, 2]


def test_a_long_command_is_finished_later_and_only_the_first_end_counts(bench: Bench) -> None:
    bench.send("a", "deploy")
    assert bench.outbox.told() == [("a", "accepted")]
    bench.desk.finish("a", "done", "", {"version": "2"})
    bench.desk.finish("a", "failed", "too late")
    bench.desk.finish("unknown", "done")
    assert bench.outbox.told() == [("a", "accepted"), ("a", "done")]


def test_the_same_id_again_is_answered_with_the_same_result_and_not_done_again(bench: Bench) -> None:
    bench.send("a")
    bench.send("b", "deploy")
    bench.send("a", "deploy", {"other": "content"})
    bench.send("b", "deploy")
    first, again = (r for r in bench.outbox.results() if (r.id, r.status) == ("a", "done"))
    assert first == again
    assert bench.done == ["a", "b"]
    assert bench.outbox.told()[-1] == ("b", "accepted")


def test_ids_are_remembered_across_restarts(bench: Bench) -> None:
    bench.send("a")
    bench.restart()
    bench.send("a")
    assert bench.done == ["a"]
    assert bench.outbox.told()[-1] == ("a", "done")


def test_what_was_accepted_before_a_restart_is_failed_unless_somebody_goes_on_with_it(bench: Bench) -> None:
    bench.send("a", "deploy")
    bench.send("b", "deploy")
    bench.restart().recover({"b"})
    assert bench.outbox.told()[2:] == [("a", "failed")]
    assert "interrupted" in bench.outbox.results()[-1].reason
    bench.desk.finish("b", "done")
    assert bench.outbox.told()[-1] == ("b", "done")
    assert bench.done == ["a", "b"]


def test_a_command_that_came_after_the_start_is_not_taken_for_a_lost_one(bench: Bench) -> None:
    bench.send("a", "deploy")
    bench.desk.recover()
    assert bench.outbox.told() == [("a", "accepted")]


@pytest.mark.parametrize(
    ("args", "status", "reason"),
    [
        ({"refuse": 1}, "refused", "args.model: is missing"),
        ({"fail": 1}, "failed", "the worker is gone"),
        ({"bug": 1}, "failed", "unexpected KeyError"),
    ],
)
def test_a_handler_that_raises_gives_a_final_result(bench: Bench, args: dict[str, Any], status: str, reason: str) -> None:
    bench.send("a", "deploy", args)
    last = bench.outbox.results()[-1]
    assert (last.id, last.status) == ("a", status)
    assert reason in last.reason


def test_an_unknown_kind_is_refused_with_the_known_ones(bench: Bench) -> None:
    bench.send("a", "reboot")
    assert bench.outbox.told() == [("a", "refused")]
    assert "'reboot' is not one of deploy, ping" in bench.outbox.results()[0].reason


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"id": "x", "kind": "ping", "v": 9}, "v: is 9"),
        ({"id": "x", "kind": "ping"}, "v: is missing"),
        ({"id": "x", "kind": 5, "v": 1}, "kind: must be text"),
        ({"id": "x", "kind": "ping", "args": [], "v": 1}, "args: must be an object"),
        ({"id": "x", "kind": "ping", "expires": "soon", "v": 1}, "expires: 'soon' is not a time"),
        ({"id": "x", "kind": "ping", "expires": "2026-01-01T00:00:00", "v": 1}, "expires: "),
    ],
)
def test_a_malformed_command_with_an_id_is_refused_by_name_of_the_key(bench: Bench, payload: Any, reason: str) -> None:
    bench.desk.receive(TOPICS.command, json.dumps(payload).encode())
    assert bench.outbox.told() == [("x", "refused")]
    assert reason in bench.outbox.results()[0].reason
    assert bench.done == []


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"v":1,"kind":"ping"}', b'{"id":""}', json.dumps({"id": "x" * (ID_CHARS + 1)}).encode()])
def test_what_cannot_be_answered_is_said_once_in_a_while(bench: Bench, payload: bytes) -> None:
    for _ in range(5):
        bench.desk.receive(TOPICS.command, payload)
        bench.desk.receive(TOPICS.ack, payload)
    assert [topic for topic, _, _ in bench.outbox.sent] == [TOPICS.events]
    assert b"command_unreadable" in bench.outbox.sent[0][1]


def test_an_expired_command_is_not_done(bench: Bench) -> None:
    now_ns = bench.clock.wall_ns()
    bench.send("late", expires=iso_utc(now_ns - 1_000_000_000))
    bench.send("in time", expires=iso_utc(now_ns + 1_000_000_000))
    assert bench.outbox.told() == [("late", "expired"), ("in time", "accepted"), ("in time", "done")]


def test_nothing_expires_by_a_clock_that_has_not_been_set(bench: Bench) -> None:
    bench.clock = ManualClock(wall_ns=1_000_000_000)
    bench.restart()
    bench.send("a", expires="1970-01-01T00:00:00Z")
    assert bench.outbox.told()[-1] == ("a", "done")


def test_final_results_are_told_again_at_every_reconnect_until_they_are_acknowledged(bench: Bench) -> None:
    bench.send("a")
    bench.send("b")
    bench.send("c", "deploy")
    bench.outbox.sent.clear()
    bench.desk.reconnected()
    assert bench.outbox.told() == [("a", "done"), ("b", "done")]
    bench.ack("a")
    bench.ack("a")
    bench.ack("c")
    bench.ack("nobody")
    bench.outbox.sent.clear()
    bench.restart().reconnected()
    assert bench.outbox.told() == [("b", "done")]
    bench.desk.finish("c", "done")
    assert bench.outbox.told()[-1] == ("c", "done")


def test_final_results_are_told_again_from_time_to_time_while_the_line_is_free(tmp_path: Path) -> None:
    others = set(threading.enumerate())
    bench = Bench(tmp_path / "log", resend_s=0.01)
    bench.send("a")
    wait_for(lambda: bench.outbox.told().count(("a", "done")) >= 3, what="two repetitions")
    bench.outbox.waiting = LINE_BUSY + 1
    bench.ack("a")
    wait_for(lambda: set(threading.enumerate()) <= others, what="the end of the resending thread")
    bench.outbox.waiting = 0
    bench.send("b")
    wait_for(lambda: bench.outbox.told().count(("b", "done")) >= 2, what="a new one being repeated")
    bench.desk.stop()


class Paper:
    """A log in memory: 800 syncs of a real disk would prove nothing more."""

    def __init__(self) -> None:
        self.kept: tuple[Sequence[ResultMessage], Collection[str]] = ((), ())

    def load(self) -> tuple[list[ResultMessage], set[str]]:
        return list(self.kept[0]), set(self.kept[1])

    def save(self, results: Sequence[ResultMessage], acked: Collection[str]) -> None:
        self.kept = (tuple(results), frozenset(acked))


def test_memory_is_bounded_and_forgets_acknowledged_commands_first(bench: Bench) -> None:
    log = Paper()
    handlers = {"ping": bench.ping, "deploy": bench.deploy}
    bench.desk = CommandDesk(device="d1", topics=TOPICS, log=log, outbox=bench.outbox, clock=bench.clock, handlers=handlers)
    bench.send("open", "deploy")
    bench.send("owed")
    for n in range(REMEMBERED + 10):
        bench.send(f"n{n}")
        bench.ack(f"n{n}")
    results, acked = log.load()
    assert len(results) == REMEMBERED
    assert [r.id for r in results[:2]] == ["open", "owed"]
    assert len(acked) == REMEMBERED - 2


class FullDisk(FileCommandLog):
    """A log whose disk can be full."""

    full = False

    def save(self, results: Any, acked: Any) -> None:
        if self.full:
            raise StoreFull("commands.json: cannot write: No space left on device")
        super().save(results, acked)


def test_nothing_is_begun_that_cannot_be_recorded(bench: Bench) -> None:
    log = FullDisk(bench.path)
    bench.desk = CommandDesk(device="d1", topics=TOPICS, log=log, outbox=bench.outbox, clock=bench.clock, handlers={"ping": bench.ping})
    log.full = True
    bench.send("a")
    bench.send("a")
    assert bench.done == []
    assert bench.outbox.told() == [("a", "failed"), ("a", "failed")]
    assert "No space left" in bench.outbox.results()[0].reason


def test_a_result_is_not_told_before_it_is_durable(bench: Bench) -> None:
    log = FullDisk(bench.path)
    bench.desk = CommandDesk(device="d1", topics=TOPICS, log=log, outbox=bench.outbox, clock=bench.clock, handlers={"deploy": bench.deploy})
    bench.send("a", "deploy")
    log.full = True
    for _ in range(2):
        with pytest.raises(StoreFull):
            bench.desk.finish("a", "done")
    bench.send("a", "deploy")
    bench.desk.reconnected()
    assert bench.outbox.told() == [("a", "accepted"), ("a", "accepted")]
    log.full = False
    bench.desk.finish("a", "done")
    bench.desk.finish("a", "done")
    assert bench.outbox.told()[2:] == [("a", "done")]
    assert [r.status for r in FileCommandLog(bench.path).load()[0]] == ["done"]


def test_a_result_held_back_by_a_full_disk_is_told_when_there_is_space(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "unused")
    log = FullDisk(tmp_path / "log")

    def fills_the_disk(command: CommandMessage) -> Outcome | None:
        log.full = True
        return "done", "", {}

    handlers = {"ping": fills_the_disk}
    desk = CommandDesk(device="d1", topics=TOPICS, log=log, outbox=bench.outbox, clock=bench.clock, handlers=handlers, resend_s=0.01)
    desk.receive(TOPICS.command, encode(CommandMessage("a", "ping")))
    assert bench.outbox.told() == [("a", "accepted")]
    log.full = False
    wait_for(lambda: ("a", "done") in bench.outbox.told(), what="the result")
    desk.stop()


def test_a_result_that_cannot_be_written_as_json_is_still_a_result(bench: Bench) -> None:
    bench.send("a", "deploy")
    bench.desk.finish("a", "done", "with \ud800", {"path": Path("/x")})
    last = bench.outbox.results()[-1]
    assert (last.id, last.status) == ("a", "done")
    assert "unsendable" in last.data


def test_a_damaged_log_keeps_what_can_be_read(bench: Bench) -> None:
    bench.send("a")
    bench.send("b")
    lines = bench.path.read_bytes().splitlines(keepends=True)
    bench.path.write_bytes(b"\x00\x00garbage\n" + lines[1] + b'{"half":')
    bench.restart()
    bench.send("b")
    assert bench.done == ["a", "b"]
    assert bench.path.with_name("commands.json.damaged").exists()
