"""One order to several devices, and what becomes of it on each. Pure: messages and times go in, who must be sent to comes out.

===========  ==========================================================================
pending      not sent yet: the device is not connected
sent         given to the broker; the device has not answered
accepted     the device works on it
done         the device did it
refused      the device will not do it, and says why
failed       the device tried and is back at what it had
expired      the device got it after its time
silent       no final answer in time: not the same as failed, nothing is known
===========  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from edge_agent.protocol.messages import FINAL_STATUSES, RESULT_STATUSES, CommandMessage, EventMessage, ResultMessage
from fleet_controller.inventory import Device

RESEND_S = 10.0


class Phase(str, Enum):
    """Where one device is with the order."""

    PENDING = "pending"
    SENT = "sent"
    ACCEPTED = "accepted"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    EXPIRED = "expired"
    SILENT = "silent"


OPEN_PHASES = frozenset({Phase.PENDING, Phase.SENT, Phase.ACCEPTED})


@dataclass(frozen=True, slots=True)
class Target:
    """One device's part. Versions are empty where the order has none; times are monotonic nanoseconds."""

    device: str
    from_version: str = ""
    to_version: str = ""
    phase: Phase = Phase.PENDING
    online: bool = False
    boot: str = ""
    update: str = ""
    reason: str = ""
    sends: int = 0
    sent_ns: int | None = None
    ended_ns: int | None = None
    data: tuple[tuple[str, object], ...] = ()

    @property
    def open(self) -> bool:
        """Whether an answer is still owed."""
        return self.phase in OPEN_PHASES


class Rollout:
    """``command`` to ``devices``. Devices that appear later with the same ids get it when they are born."""

    def __init__(self, command: CommandMessage, devices: Iterable[Device], *, start_ns: int) -> None:
        self.command = command
        self.start_ns = start_ns
        model = str(command.args.get("model", ""))
        version = str(command.args.get("version", ""))
        self._targets = {d.id: _planned(d, model, version) for d in devices}

    @property
    def targets(self) -> tuple[Target, ...]:
        return tuple(self._targets.values())

    @property
    def finished(self) -> bool:
        return not any(target.open for target in self._targets.values())

    @property
    def succeeded(self) -> bool:
        """Every device did it."""
        return all(target.phase is Phase.DONE for target in self._targets.values())

    def counts(self) -> dict[str, int]:
        """Devices by phase, only phases somebody is in."""
        phases = [target.phase for target in self._targets.values()]
        return {phase.value: phases.count(phase) for phase in Phase if phase in phases}

    def due(self, now_ns: int) -> tuple[str, ...]:
        """Who must be sent the command now: connected, owing an answer, and not sent to within :data:`RESEND_S`.

        A device that accepted is sent to again only after a new boot. Sending twice is harmless: the same id is one order.
        """
        return tuple(t.device for t in self._targets.values() if _is_due(t, now_ns))

    def sent(self, device: str, now_ns: int) -> Target:
        """The command was given to the broker for ``device``."""
        target = self._targets[device]
        phase = Phase.SENT if target.phase is Phase.PENDING else target.phase
        return self._put(replace(target, phase=phase, sends=target.sends + 1, sent_ns=now_ns))

    def see_device(self, device: Device, *, live: bool) -> Target | None:
        """A status arrived. ``live`` is false for a retained one, which announces nothing new."""
        target = self._targets.get(device.id)
        if target is None or not target.open:
            return None
        reborn = live and device.online and (not target.online or device.status.boot != target.boot)
        boot = device.status.boot if device.online else target.boot
        return self._put(replace(target, online=device.online, boot=boot, sent_ns=None if reborn else target.sent_ns))

    def see_event(self, event: EventMessage) -> Target | None:
        """The target when ``event`` is progress of this order, else ``None``."""
        target = self._targets.get(event.device)
        if target is None or not target.open or event.data.get("command_id") != self.command.id:
            return None
        state = event.data.get("to", "")
        return self._put(replace(target, update=str(state) or target.update))

    def see_result(self, result: ResultMessage, now_ns: int) -> Target | None:
        """The target when ``result`` changed it, else ``None``: a foreign one, a repeated one, or a step back."""
        target = self._targets.get(result.device)
        if target is None or result.id != self.command.id or not target.open or result.status not in RESULT_STATUSES:
            return None
        phase = Phase(result.status)
        if phase is target.phase:
            return None
        final = result.status in FINAL_STATUSES
        version = result.data.get("version")
        return self._put(
            replace(
                target,
                phase=phase,
                reason=result.reason,
                to_version=target.to_version or (version if isinstance(version, str) else ""),
                ended_ns=now_ns if final else None,
                data=tuple(result.data.items()),
            )
        )

    def give_up(self, now_ns: int) -> None:
        """The time is over: who still owes an answer is silent."""
        for target in self._targets.values():
            if target.open:
                self._put(replace(target, phase=Phase.SILENT, reason=_why_silent(target), ended_ns=now_ns))

    def _put(self, target: Target) -> Target:
        self._targets[target.device] = target
        return target


def _planned(device: Device, model: str, version: str) -> Target:
    entry = device.model(model)
    return Target(device.id, entry.version if entry else "", version, online=device.online, boot=device.status.boot)


def _is_due(target: Target, now_ns: int) -> bool:
    if not target.open or not target.online:
        return False
    if target.sent_ns is None:
        return True
    return target.phase is Phase.SENT and now_ns - target.sent_ns >= RESEND_S * 1e9


def _why_silent(target: Target) -> str:
    if target.phase is Phase.PENDING:
        return "was never connected in that time"
    if target.phase is Phase.ACCEPTED:
        where = f" (last heard: {target.update})" if target.update else ""
        return f"accepted the order and gave no result in time{where}"
    times = "once" if target.sends == 1 else f"{target.sends} times"
    return f"no answer; sent {times}{'' if target.online else ', and it is no longer connected'}"
