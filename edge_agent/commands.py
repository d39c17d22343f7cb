"""The desk where commands arrive: each is carried out at most once, and each gets one final result, told until it is acknowledged.

A command is in the durable log before its handler runs, so that a second delivery, also after a restart or a power cut, is answered from
the log. What was accepted and not finished when the agent died is finished by whoever resumes it, or is ``failed: interrupted``.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from edge_agent.clock import Clock, from_iso_utc, iso_utc, monotonic_s
from edge_agent.errors import CommandError, EdgeError, StoreError
from edge_agent.ports import Outbox
from edge_agent.protocol.codec import decode, encode, load_object
from edge_agent.protocol.messages import FINAL_STATUSES, AckMessage, CommandMessage, EventMessage, ResultMessage
from edge_agent.protocol.topics import Topics

REMEMBERED = 256
ID_CHARS = 128
RESEND_S = 30.0
LINE_BUSY = 20
"""With more messages than this waiting the broker is away or slow, and one more copy of a result helps nobody."""
SANE_WALL_NS = 1_704_067_200_000_000_000
"""2024-01-01: a board whose clock says less has no battery behind it and has not heard the time yet. Nothing expires by such a clock."""
UNREADABLE_EVERY_S = 30.0

Outcome = tuple[str, str, Mapping[str, Any]]
"""Status, reason, data."""
Handler = Callable[[CommandMessage], Outcome | None]
"""Carries a command out, quickly: returns the outcome, or ``None`` when :meth:`CommandDesk.finish` will be called. Raising CommandError
refuses the command, any other error fails it."""


class CommandLog(Protocol):
    """The desk's memory. ``save`` is durable when it returns and replaces what was saved before; both raise StoreError."""

    def load(self) -> tuple[list[ResultMessage], set[str]]: ...

    def save(self, results: Sequence[ResultMessage], acked: Collection[str]) -> None: ...


class CommandDesk:
    """``receive`` is called by the transport, ``finish`` by whoever works longer; any thread may call either."""

    def __init__(
        self,
        *,
        device: str,
        topics: Topics,
        log: CommandLog,
        outbox: Outbox,
        clock: Clock,
        handlers: Mapping[str, Handler] | None = None,
        resend_s: float = RESEND_S,
    ) -> None:
        """Reads the log."""
        self._device = device
        self._topics = topics
        self._log = log
        self._outbox = outbox
        self._clock = clock
        self._handlers: Mapping[str, Handler] = dict(handlers or {})
        self._resend_s = resend_s
        self._lock = threading.RLock()
        results, self._acked = log.load()
        self._known = {result.id: result for result in results}
        self._inherited = {result.id for result in results if result.status == "accepted"}
        self._held: set[str] = set()
        self._unreadable_at_s: float | None = None
        self._resender: threading.Thread | None = None
        self._stopping = threading.Event()

    def handle(self, handlers: Mapping[str, Handler]) -> None:
        """Who carries out which kind of command. Call before the first ``receive``."""
        self._handlers = dict(handlers)

    def recover(self, running: Collection[str] = ()) -> None:
        """After a start: fail what an earlier run accepted and is not among ``running``, the ids somebody goes on with."""
        with self._lock:
            lost = self._inherited - set(running)
        for command_id in sorted(lost):
            self._finish_quietly(command_id, "failed", "interrupted: the agent ended before it was done", {})

    def receive(self, topic: str, payload: bytes) -> None:
        """A message on the command or ack topic. Never raises: what is wrong with it is answered."""
        if topic == self._topics.ack:
            self._acknowledge(payload)
            return
        try:
            command = decode(CommandMessage, payload)
            _check_id(command.id)
        except CommandError as error:
            self._refuse_malformed(payload, str(error))
            return
        if not self._answered_before(command.id):
            self._begin(command)

    def finish(self, command_id: str, status: str, reason: str = "", data: Mapping[str, Any] | None = None) -> None:
        """The end of a command: ``status`` is a final one. The first call counts; ids that did not come over MQTT are ignored.

        Raises StoreError when the result cannot be made durable now. Then it is not told yet either: a result that was told and then
        forgotten would be told otherwise after a restart. Call again later; the desk itself tries again, too.
        """
        with self._lock:
            known = self._known.get(command_id)
            if known is None:
                return
            if known.status not in FINAL_STATUSES:
                self._known[command_id] = self._result(known.id, known.kind, status, reason, data or {})
                self._held.add(command_id)
                self._start_resender()
            if self._held:
                self._save()

    def reconnected(self) -> None:
        """The broker is back: tell again every final result that has not been acknowledged, unless copies of them still wait."""
        owed = self._owed()
        if owed:
            self._start_resender()
        if self._outbox.queued() <= LINE_BUSY:
            for result in owed:
                self._send(result)

    def stop(self) -> None:
        """End the thread that tells results again."""
        self._stopping.set()

    # One command

    def _begin(self, command: CommandMessage) -> None:
        handler = self._handlers.get(command.kind)
        if handler is None:
            kinds = ", ".join(sorted(self._handlers))
            self._settle(command.id, command.kind, "refused", f"kind: {command.kind[:40]!r} is not one of {kinds}")
            return
        try:
            expired = self._expired(command.expires)
        except CommandError as error:
            self._settle(command.id, command.kind, "refused", str(error))
            return
        if expired:
            self._settle(command.id, command.kind, "expired", f"it was not to be started after {command.expires}")
            return
        self._carry_out(command, handler)

    def _carry_out(self, command: CommandMessage, handler: Handler) -> None:
        accepted = self._result(command.id, command.kind, "accepted", "", {})
        try:
            self._remember(accepted)
        except StoreError as error:
            self._settle(command.id, command.kind, "failed", f"not begun, because it cannot be recorded: {error}")
            return
        self._send(accepted)
        try:
            outcome = handler(command)
        except CommandError as error:
            outcome = "refused", str(error), {}
        except EdgeError as error:
            outcome = "failed", str(error), {}
        except Exception as error:  # a handler's mistake is that command's failure, not the end of the connection
            outcome = "failed", f"unexpected {type(error).__name__}: {error}", {}
        if outcome is not None:
            self._finish_quietly(command.id, *outcome)

    def _answered_before(self, command_id: str) -> bool:
        with self._lock:
            known = self._known.get(command_id)
            if known is None:
                return False
            held = command_id in self._held
            self._send(replace(known, status="accepted", reason="", data={}) if held else known)
            return True

    def _settle(self, command_id: str, kind: str, status: str, reason: str) -> None:
        """A final result for a command that is not begun."""
        with self._lock:
            self._known.pop(command_id, None)
            try:
                self._remember(self._result(command_id, kind, status, reason, {}))
            except StoreError:
                pass  # it stays in memory, and nothing was begun that a second delivery could do twice
            self._send(self._known[command_id])

    def _refuse_malformed(self, payload: bytes, reason: str) -> None:
        try:
            tree = load_object(payload)
            command_id, kind = _check_id(tree.get("id")), tree.get("kind")
        except CommandError:
            self._tell_unreadable(reason)
            return
        if not self._answered_before(command_id):
            self._settle(command_id, kind[:40] if isinstance(kind, str) else "", "refused", reason)

    def _acknowledge(self, payload: bytes) -> None:
        try:
            ack = decode(AckMessage, payload)
        except CommandError as error:
            self._tell_unreadable(str(error))
            return
        with self._lock:
            known = self._known.get(ack.id)
            if known is None or known.status not in FINAL_STATUSES or ack.id in self._acked:
                return
            self._acked.add(ack.id)
            self._save_quietly()  # failing that, it is told and acknowledged once more after a restart

    def _expired(self, expires: str) -> bool:
        if not expires:
            return False
        try:
            limit_ns = from_iso_utc(expires)
        except ValueError:
            raise CommandError(f"expires: {expires[:40]!r} is not a time such as 2026-11-20T13:00:00Z") from None
        now_ns = self._clock.wall_ns()
        return now_ns >= SANE_WALL_NS and limit_ns < now_ns

    # Memory; the lock is held

    def _remember(self, result: ResultMessage) -> None:
        with self._lock:
            self._known[result.id] = result
            while len(self._known) > REMEMBERED:
                self._forget_one()
            self._save()

    def _forget_one(self) -> None:
        """The oldest that the fleet has acknowledged; failing that the oldest that is done; failing that the oldest."""
        order = list(self._known.values())[:-1]
        done = [r.id for r in order if r.status in FINAL_STATUSES]
        settled = [command_id for command_id in done if command_id in self._acked]
        victim = (settled or done or [order[0].id])[0]
        del self._known[victim]
        self._acked.discard(victim)

    def _save(self) -> None:
        """Everything to the log; then what was held back for want of it can be told."""
        self._log.save(tuple(self._known.values()), self._acked)
        held, self._held = self._held, set()
        for command_id in sorted(held & self._known.keys()):
            self._send(self._known[command_id])

    def _save_quietly(self) -> None:
        try:
            self._save()
        except StoreError:
            pass

    def _finish_quietly(self, command_id: str, status: str, reason: str, data: Mapping[str, Any]) -> None:
        try:
            self.finish(command_id, status, reason, data)
        except StoreError:
            pass  # it is in memory, and told as soon as the log can be written

    # Telling

    def _result(self, command_id: str, kind: str, status: str, reason: str, data: Mapping[str, Any]) -> ResultMessage:
        result = ResultMessage(self._device, command_id, kind, status, iso_utc(self._clock.wall_ns()), reason, dict(data))
        try:
            encode(result)
        except CommandError as error:
            text = reason.encode(errors="replace").decode()[:2000]
            result = replace(result, reason=text, data={"unsendable": str(error)})
        return result

    def _send(self, result: ResultMessage) -> None:
        final = result.status in FINAL_STATUSES
        self._outbox.put(self._topics.result, encode(result), keep=2 if final else 1)
        if final and result.id not in self._acked:
            self._start_resender()

    def _owed(self) -> list[ResultMessage]:
        with self._lock:
            quiet = self._acked | self._held
            return [r for r in self._known.values() if r.status in FINAL_STATUSES and r.id not in quiet]

    def _start_resender(self) -> None:
        with self._lock:
            if self._resender is None:
                self._resender = threading.Thread(target=self._resend, name="results", daemon=True)
                self._resender.start()

    def _resend(self) -> None:
        """Tell owed results again from time to time; ends when nothing is owed."""
        while not self._stopping.wait(self._resend_s * random.uniform(0.75, 1.25)):
            with self._lock:
                if self._held:
                    self._save_quietly()
                owed = self._owed()
                if not owed and not self._held:
                    self._resender = None
                    return
            if self._outbox.queued() <= LINE_BUSY:
                for result in owed:
                    self._send(result)

    def _tell_unreadable(self, reason: str) -> None:
        """A message without an id cannot be answered; say so, but not for each of a flood of them."""
        now_s = monotonic_s(self._clock)
        with self._lock:
            if self._unreadable_at_s is not None and now_s < self._unreadable_at_s + UNREADABLE_EVERY_S:
                return
            self._unreadable_at_s = now_s
        t = iso_utc(self._clock.wall_ns())
        event = EventMessage(self._device, t, "command_unreadable", "warning", f"a command cannot be answered: {reason[:500]}")
        self._outbox.put(self._topics.events, encode(event), keep=1)


def _check_id(command_id: Any) -> str:
    if not isinstance(command_id, str) or not 0 < len(command_id) <= ID_CHARS:
        raise CommandError(f"id: must be a text of 1 to {ID_CHARS} characters")
    try:
        command_id.encode()
    except UnicodeEncodeError:
        raise CommandError("id: text that is not Unicode") from None
    return command_id
