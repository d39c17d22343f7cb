"""The engine's side of the zygote: start it, have it make processes, hear of their end, start it again when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from edge_agent.clock import Clock, monotonic_s
from edge_agent.errors import EdgeError
from edge_agent.inference.crashes import CrashRecord
from edge_agent.inference.loop import Loop, Timer
from edge_agent.inference.wire import Channel, ChannelClosed, ChannelFull, Packet, pair
from edge_agent.inference.zygote_start import StartedZygote, start_zygote

SPAWN_TIMEOUT_S = 60.0
KILL_TIMEOUT_S = 5.0
CRASH_LIMIT = 3
CRASH_WINDOW_S = 60.0
AGAIN_S = 5.0

Tell = Callable[[str, str, str, Mapping[str, Any]], None]
"""``tell(kind, level, message, data)``: an event of the engine."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: exit ``code``, or the ``signal`` that killed it. ``reason`` when it never ran."""

    code: int
    signal: int
    reason: str = ""

    def __str__(self) -> str:
        if self.reason:
            return self.reason
        return f"killed by {_signal_name(self.signal)}" if self.signal else f"exit status {self.code}"


class Child:
    """A process made by the zygote. ``pid`` is known a moment after it was asked for; ``exited`` resolves when it is gone."""

    def __init__(
        self, role: str, title: str, channel: Channel, on_message: Callable[[Packet], None], on_exit: Callable[[Exit], None]
    ) -> None:
        self.role = role
        self.title = title
        self.channel = channel
        self.on_message = on_message
        self.on_exit = on_exit
        self.on_spawned: Callable[[int], None] = lambda pid: None
        self.pid: int | None = None
        self.exited: Future[Exit] = Future()
        self.doomed = False
        self.overdue: Timer | None = None

    def send(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> bool:
        """False when the process is gone or does not read; the engine never waits for it."""
        if self.exited.done():
            return False
        try:
            self.channel.send(message, fds)
        except (ChannelClosed, ChannelFull):
            return False
        return True


class ZygoteClient:
    """One zygote at a time. Loop's thread only. With ``api`` it imports what the local API needs, too, so that this starts at once.

    ``early`` is the first one, where somebody started it already.
    """

    def __init__(
        self,
        loop: Loop,
        clock: Clock,
        runtimes: Sequence[str],
        python: str,
        tell: Tell,
        *,
        api: bool = False,
        early: StartedZygote | None = None,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._runtimes = tuple(runtimes)
        self._api = api
        self._early = early
        self._python = python
        self._tell = tell
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._children: dict[int, Child] = {}
        self._waiting: dict[int, int] = {}
        self._next = 0
        self._crashes = CrashRecord(CRASH_LIMIT, CRASH_WINDOW_S)
        self._stopping = False
        self.ready: Future[None] = Future()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the process; ``ready`` resolves when it has imported what it needs, or fails with the reason."""
        early, self._early = self._early, None
        started = early or start_zygote(self._runtimes, api=self._api, python=self._python)
        self._process, self._channel = started.process, started.channel
        self._loop.watch(started.channel.fileno(), self._hear)
        for number, fd in self._waiting.items():
            self._ask_for(number, fd)
            os.close(fd)
        self._waiting.clear()

    def spawn(self, role: str, title: str, on_message: Callable[[Packet], None], on_exit: Callable[[Exit], None]) -> Child:
        """A new process of ``role`` (worker or pipeline). What is sent to it now reaches it when it runs."""
        ours, theirs = pair()
        number, self._next = self._next, self._next + 1
        child = Child(role, title, ours, on_message, on_exit)
        self._children[number] = child
        self._loop.watch(ours.fileno(), lambda: self._drain(child))
        child.overdue = self._loop.later(SPAWN_TIMEOUT_S, lambda: self._check_spawned(child))
        if self._channel is None:
            self._waiting[number] = theirs.detach()
        else:
            self._ask_for(number, theirs.fileno())
            theirs.close()
        return child

    def kill(self, child: Child, number: int = signal.SIGKILL) -> None:
        """End ``child`` now. Through its parent: only that knows for sure that the process id is still this process.

        A parent that does not say within ``KILL_TIMEOUT_S`` that it is gone hangs itself, and is ended with all its children.
        """
        if not child.doomed and not child.exited.done():
            self._loop.later(KILL_TIMEOUT_S, lambda: self._check_gone(child))
        child.doomed = True
        self.signal(child, number)

    def signal(self, child: Child, number: int) -> None:
        """Send ``child`` a signal that it may well survive."""
        if child.pid is not None and not child.exited.done():
            self._say({"op": "kill", "pid": child.pid, "signal": int(number)})

    def stop(self, timeout_s: float) -> None:
        """End the zygote, and with it all its children."""
        self._stopping = True
        self._gone()
        process, self._process = self._process, None
        if process is not None:
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _ask_for(self, number: int, fd: int) -> None:
        child = self._children[number]
        self._say({"op": "spawn", "id": number, "role": child.role, "title": child.title}, (fd,))

    def _say(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
        if self._channel is None:
            return
        try:
            self._channel.send(message, fds)
        except ChannelFull:
            self._kill_zygote()
        except ChannelClosed:
            pass  # its end is read in _hear, which starts everything again

    def _check_spawned(self, child: Child) -> None:
        if child.pid is None and not child.exited.done():
            self._kill_zygote()

    def _check_gone(self, child: Child) -> None:
        if not child.exited.done():
            self._kill_zygote()

    def _kill_zygote(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _hear(self) -> None:
        try:
            while self._channel is not None and (packet := self._channel.receive()) is not None:
                self._obey(packet.message)
        except ChannelClosed:
            self._died()

    def _obey(self, message: Mapping[str, Any]) -> None:
        event = message["event"]
        if event == "ready":
            if not message["fork"]:
                text = (
                    f"the zygote has {message['threads']} threads after imports; forking is not safe, fresh processes are started instead"
                )
                self._tell("zygote_spawns", "warning", text, {"threads": message["threads"]})
            if not self.ready.done():
                self.ready.set_result(None)
        elif event == "failed":
            if not self.ready.done():
                self.ready.set_exception(EdgeError(f"the zygote cannot start: {message['reason']}"))
        elif event == "spawned":
            child = self._children[message["id"]]
            child.pid = message["pid"]
            _forget_timer(child)
            child.on_spawned(message["pid"])
            if child.doomed:
                self.kill(child)
        elif event == "exited":
            self._finish(message["id"], Exit(message["code"], message["signal"], message.get("reason", "")))

    def _drain(self, child: Child) -> None:
        try:
            while (packet := child.channel.receive()) is not None:
                child.on_message(packet)
        except ChannelClosed:
            self._loop.unwatch(child.channel.fileno())

    def _finish(self, number: int, exit_: Exit) -> None:
        child = self._children.pop(number)
        _forget_timer(child)
        if not child.exited.done():
            self._drain(child)
            self._loop.unwatch(child.channel.fileno())
            child.channel.close()
            child.exited.set_result(exit_)
            child.on_exit(exit_)

    def _gone(self) -> None:
        """Forget the zygote that is gone, and with it its children."""
        if self._channel is not None:
            self._loop.unwatch(self._channel.fileno())
            self._channel.close()
            self._channel = None
        for fd in self._waiting.values():
            os.close(fd)
        self._waiting.clear()
        for number in list(self._children):
            self._finish(number, Exit(-1, signal.SIGKILL, "its parent process died"))

    def _died(self) -> None:
        process, self._process = self._process, None
        status = 0
        if process is not None:
            process.kill()
            status = process.wait()
        if not self.ready.done():
            self.ready.set_exception(EdgeError("the zygote ended while it was starting; its standard error says why"))
        restart = self._crashes.died(monotonic_s(self._clock))
        if not self._stopping:
            self._tell(
                "zygote_died", "error", "the process that makes workers and pipelines died; it and they start again", {"status": status}
            )
            self._loop.later(restart.delay_s, self._start_again)
        self._gone()

    def _start_again(self) -> None:
        if self._stopping or self._process is not None:
            return
        try:
            self.start()
        except OSError as error:  # no memory or no descriptors just now; without it nothing is served
            self._tell("zygote_died", "error", f"it cannot be started again yet: {error.strerror}", {})
            self._loop.later(AGAIN_S, self._start_again)


def _forget_timer(child: Child) -> None:
    """What waits for it no more must not hold it either: after many swaps a minute's worth of dead workers would still be in memory."""
    if child.overdue is not None:
        child.overdue.cancel()
        child.overdue = None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
