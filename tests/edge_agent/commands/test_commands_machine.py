"""Any order of deliveries, ends, acknowledgements, restarts and full disks: at most once, and always one answer."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edge_agent.clock import ManualClock
from edge_agent.commands import CommandDesk, Outcome
from edge_agent.errors import StoreError, StoreFull
from edge_agent.protocol.codec import decode, encode
from edge_agent.protocol.messages import FINAL_STATUSES, AckMessage, CommandMessage, ResultMessage
from edge_agent.protocol.topics import Topics
from edge_agent.transport.command_log import FileCommandLog

TOPICS = Topics("d1")
ids = st.sampled_from("abcdef")


class FlakyLog(FileCommandLog):
    full = False

    def save(self, results: Any, acked: Any) -> None:
        if self.full:
            raise StoreFull("the disk is full")
        super().save(results, acked)


class DeskMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.log = FlakyLog(Path(self.folder.name) / "log")
        self.clock = ManualClock(wall_ns=1_795_000_000_000_000_000)
        self.began: Counter[str] = Counter()
        self.began_at: dict[str, int] = {}
        self.running: set[str] = set()
        self.sent: set[str] = set()
        self.results: list[ResultMessage] = []
        self.desk = self.new_desk()

    # The outbox

    def put(self, topic: str, payload: bytes, *, keep: int = 0, retain: bool = False, wait: bool = True) -> None:
        if topic == TOPICS.result:
            self.results.append(decode(ResultMessage, payload))

    def queued(self) -> int:
        return 0

    def dropped(self) -> int:
        return 0

    # The handlers

    def quick(self, command: CommandMessage) -> Outcome | None:
        self.began[command.id] += 1
        self.began_at[command.id] = len(self.results)
        return "done", "", {}

    def slow(self, command: CommandMessage) -> Outcome | None:
        self.began[command.id] += 1
        self.began_at[command.id] = len(self.results)
        self.running.add(command.id)
        return None

    def new_desk(self) -> CommandDesk:
        handlers = {"ping": self.quick, "deploy": self.slow}
        return CommandDesk(device="d1", topics=TOPICS, log=self.log, outbox=self, clock=self.clock, handlers=handlers, resend_s=3600.0)

    def told(self, command_id: str) -> list[str]:
        return [r.status for r in self.results if r.id == command_id]

    @rule(command_id=ids, kind=st.sampled_from(["ping", "deploy", "nonsense"]), expired=st.booleans())
    def deliver(self, command_id: str, kind: str, expired: bool) -> None:
        before = len(self.results)
        expires = "2001-01-01T00:00:00Z" if expired else ""
        self.desk.receive(TOPICS.command, encode(CommandMessage(command_id, kind, expires=expires)))
        self.sent.add(command_id)
        assert any(r.id == command_id for r in self.results[before:]), "every delivery is answered"

    @rule(command_id=ids)
    def deliver_malformed(self, command_id: str) -> None:
        self.desk.receive(TOPICS.command, b'{"id":"%s","kind":7,"v":1}' % command_id.encode())
        self.sent.add(command_id)

    @rule(status=st.sampled_from(["done", "failed"]))
    def finish(self, status: str) -> None:
        for command_id in sorted(self.running)[:1]:
            try:
                self.desk.finish(command_id, status)
                self.running.discard(command_id)
            except StoreError:
                pass  # as the updater does: it tells again until it is remembered

    @rule(command_id=ids)
    def acknowledge(self, command_id: str) -> None:
        self.desk.receive(TOPICS.ack, encode(AckMessage(command_id)))

    @rule()
    def reconnect(self) -> None:
        self.desk.reconnected()

    @rule(full=st.booleans())
    def fill_disk(self, full: bool) -> None:
        self.log.full = full

    @rule(survivors=st.integers(0, 3))
    def restart(self, survivors: int) -> None:
        self.log.full = False
        self.desk.stop()
        self.running = set(sorted(self.running)[:survivors])
        self.desk = self.new_desk()
        self.desk.recover(self.running)

    @invariant()
    def nothing_is_begun_twice(self) -> None:
        assert all(times == 1 for times in self.began.values())

    @invariant()
    def nothing_that_was_begun_ends_in_two_ways(self) -> None:
        # What came before: a command that was turned away while the disk was full, and forgotten in a restart, may come again and be done.
        for command_id, start in self.began_at.items():
            ends = {r.status for r in self.results[start:] if r.id == command_id and r.status in FINAL_STATUSES}
            assert len(ends) <= 1

    def teardown(self) -> None:
        self.log.full = False
        while self.running:
            self.finish("done")
        self.desk.recover()
        for command_id in self.sent:
            assert any(status in FINAL_STATUSES for status in self.told(command_id)), f"{command_id} has a final result"
        self.desk.stop()
        self.folder.cleanup()


DeskMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestDesk = DeskMachine.TestCase
