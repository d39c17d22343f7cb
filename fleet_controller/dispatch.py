"""Carries one order out: send, send again at a device's birth, hear, write down, acknowledge; until all have answered or time is over."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from edge_agent.clock import Clock, iso_utc, monotonic_s
from edge_agent.errors import TransportError
from edge_agent.protocol.messages import FINAL_STATUSES, CommandMessage, EventMessage, ResultMessage, StatusMessage
from fleet_controller.rollout import Rollout, Target
from fleet_controller.session import FleetSession
from fleet_controller.store import FleetStore

_TICK_S = 0.5

Progress = Callable[[Target, str], None]
"""Called with the target and one line of what just happened to it."""


def make_command(kind: str, args: Mapping[str, Any], clock: Clock, *, timeout_s: float, command_id: str = "") -> CommandMessage:
    """An order that is dead ``timeout_s`` from now. Without ``command_id`` it gets a new one that sorts by time."""
    wall_ns = clock.wall_ns()
    if not command_id:
        stamp = datetime.fromtimestamp(wall_ns / 1e9, tz=timezone.utc).strftime("%Y%m%d-%H%M%S")
        command_id = f"{kind}-{stamp}-{uuid.uuid4().hex[:8]}"
    return CommandMessage(command_id, kind, dict(args), iso_utc(wall_ns + int(timeout_s * 1e9)))


class Dispatcher:
    """Drives :class:`Rollout` over a connected :class:`FleetSession`."""

    def __init__(self, session: FleetSession, store: FleetStore, clock: Clock, progress: Progress) -> None:
        self._session = session
        self._store = store
        self._clock = clock
        self._progress = progress

    def begin(self, rollout: Rollout, selector: str) -> None:
        """Write the rollout down and send to everyone who is connected."""
        self._session.own = rollout.command.id
        self._store.begin(rollout.command, fleet=self._session.fleet, selector=selector)
        for target in rollout.targets:
            self._store.record(rollout, target)
        self._send_due(rollout)

    def wait(self, rollout: Rollout, timeout_s: float) -> None:
        """Until every device has answered, or ``timeout_s`` is over and the rest is silent."""
        deadline_s = monotonic_s(self._clock) + timeout_s
        while not rollout.finished:
            left_s = deadline_s - monotonic_s(self._clock)
            if left_s <= 0:
                break
            heard = self._session.next(min(left_s, _TICK_S))
            if heard is not None:
                self._hear(rollout, *heard)
            self._send_due(rollout)
        self._close(rollout)

    def leave(self, rollout: Rollout) -> None:
        """Do not wait: only make sure that the broker has what was sent. Raises TransportError when it has not."""
        for target in rollout.targets:
            self._store.record(rollout, target)
        if not self._session.flush():
            raise TransportError("the broker did not take the order in time; nothing is known of who got it")

    def _hear(self, rollout: Rollout, message: object, live: bool) -> None:
        if isinstance(message, StatusMessage):
            device = self._session.inventory.get(message.device)
            if device is not None:
                rollout.see_device(device, live=live)
        elif isinstance(message, EventMessage):
            target = rollout.see_event(message)
            if target is not None:
                self._progress(target, message.message or message.kind)
        elif isinstance(message, ResultMessage) and message.id == rollout.command.id:
            self._hear_result(rollout, message)

    def _hear_result(self, rollout: Rollout, result: ResultMessage) -> None:
        target = rollout.see_result(result, self._clock.monotonic_ns())
        if target is not None:
            self._store.record(rollout, target)
            self._progress(target, f"{result.status}: {result.reason}" if result.reason else result.status)
        if result.status in FINAL_STATUSES:
            if all(t.device != result.device for t in rollout.targets):
                self._store.record_late(result.id, result.device, result.status, result.reason)
            self._session.acknowledge(result.device, result.id)

    def _send_due(self, rollout: Rollout) -> None:
        now_ns = self._clock.monotonic_ns()
        for device in rollout.due(now_ns):
            self._session.send(device, rollout.command)
            target = rollout.sent(device, now_ns)
            if target.sends == 1:
                self._store.record(rollout, target)
                self._progress(target, "sent")

    def _close(self, rollout: Rollout) -> None:
        owing = {target.device for target in rollout.targets if target.open}
        rollout.give_up(self._clock.monotonic_ns())
        for target in rollout.targets:
            if target.device in owing:
                self._store.record(rollout, target)
                self._progress(target, f"{target.phase.value}: {target.reason}")
