"""Telemetry: a metrics message every interval, and every event, into the outbox."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from edge_agent.clock import Clock, iso_utc, monotonic_s
from edge_agent.errors import CommandError
from edge_agent.ports import Outbox
from edge_agent.protocol.codec import encode
from edge_agent.protocol.messages import BoardMetrics, EventMessage, MetricsMessage, ProcessMetrics
from edge_agent.protocol.topics import Topics
from edge_agent.telemetry.limit import RepeatLimit
from edge_agent.telemetry.summary import summarize_models, summarize_pipelines
from edge_agent.values import Event, ModelStatus, PipelineStatus

FIRST_S = 2.0
MESSAGE_CHARS = 2000


class EngineView(Protocol):
    """What telemetry wants to know of the engine. Each call is cheap and may come from any thread."""

    def models(self) -> tuple[ModelStatus, ...]: ...

    def pipelines(self) -> tuple[PipelineStatus, ...]: ...

    def processes(self) -> tuple[tuple[str, int], ...]:
        """(role, pid) of every process but the control process."""
        ...


class BoardProbe(Protocol):
    """See :class:`edge_agent.telemetry.probe.Probe`."""

    def board(self, state_dir: Path) -> BoardMetrics: ...

    def processes(self, roles: Sequence[tuple[str, int]]) -> tuple[ProcessMetrics, ...]: ...


class Reporter:
    """A thread of its own measures every ``interval_s``; :meth:`events` may be called from any thread and never raises.

    The same event (kind and message) is sent five times at once and then once a minute, one kind sixty times and then once a second; what
    was kept back is counted in ``data.suppressed`` of the next one.
    """

    def __init__(
        self,
        *,
        device: str,
        interval_s: float,
        engine: EngineView,
        probe: BoardProbe,
        outbox: Outbox,
        topics: Topics,
        clock: Clock,
        state_dir: Path,
        extra_roles: Callable[[], Sequence[tuple[str, int]]] = tuple,
    ) -> None:
        """``extra_roles`` gives (role, pid) of processes the engine does not know, such as the updater."""
        self._device = device
        self._interval_s = interval_s
        self._engine = engine
        self._probe = probe
        self._outbox = outbox
        self._topics = topics
        self._clock = clock
        self._state_dir = state_dir
        self._extra_roles = extra_roles
        self._seq = 0
        self._before: tuple[PipelineStatus, ...] = ()
        self._before_s = monotonic_s(clock)
        self._latest: MetricsMessage | None = None
        self._lock = threading.Lock()
        self._same = RepeatLimit(burst=5, per_s=1 / 60)
        self._kind = RepeatLimit(burst=60, per_s=1.0)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def start(self) -> None:
        """Begin to measure; the first message comes after one interval."""
        self._before_s = monotonic_s(self._clock)
        self._probe.board(self._state_dir)
        self._probe.processes(self._roles())
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def latest(self) -> MetricsMessage | None:
        """The last message, for callers on this device."""
        return self._latest

    def events(self, event: Event) -> None:
        """Queue ``event`` for the fleet; ``debug`` is for the log only."""
        if event.level == "debug":
            return
        now_s = monotonic_s(self._clock)
        with self._lock:
            repeats = self._same.admit(f"{event.kind}\n{event.message}", now_s)
            others = self._kind.admit(event.kind, now_s) if repeats is not None else None
        if repeats is None or others is None:
            return
        suppressed = repeats + others
        data = {**event.data, "suppressed": suppressed} if suppressed else dict(event.data)
        message = EventMessage(
            device=self._device,
            t=iso_utc(self._clock.wall_ns()),
            kind=event.kind,
            level=event.level,
            message=event.message[:MESSAGE_CHARS],
            data=data,
        )
        self._outbox.put(self._topics.events, _encode(message), keep=1, wait=False)

    def measure(self) -> MetricsMessage:
        """One message about the time since the previous one."""
        now_s = monotonic_s(self._clock)
        interval_s = now_s - self._before_s
        pipelines = self._engine.pipelines()
        processes = self._probe.processes(self._roles())
        message = MetricsMessage(
            device=self._device,
            t=iso_utc(self._clock.wall_ns()),
            seq=self._seq,
            interval_s=round(interval_s, 3),
            board=self._probe.board(self._state_dir),
            pipelines=summarize_pipelines(self._before, pipelines, interval_s),
            models=summarize_models(self._engine.models(), self._before, pipelines, processes),
            processes=processes,
            outbox_queued=self._outbox.queued(),
            outbox_dropped=self._outbox.dropped(),
        )
        self._before, self._before_s = pipelines, now_s
        self._seq += 1
        self._latest = message
        return message

    def _roles(self) -> list[tuple[str, int]]:
        return [("control", os.getpid()), *self._engine.processes(), *self._extra_roles()]

    def _run(self) -> None:
        # The first one comes early, so that whoever looks at a device that just started sees it.
        due_s = self._before_s + min(self._interval_s, FIRST_S)
        while not self._stopping.wait(max(0.0, due_s - monotonic_s(self._clock))):
            # A board that was suspended does not catch up on the intervals it slept through.
            due_s = max(due_s, monotonic_s(self._clock) - self._interval_s) + self._interval_s
            try:
                self._outbox.put(self._topics.metrics, encode(self.measure()))
            except Exception as error:  # a measurement that fails must not end all measurements
                problem = f"cannot measure: {type(error).__name__}: {error}"
                self.events(Event("telemetry_failed", "error", problem, self._clock.wall_ns()))


def _encode(message: EventMessage) -> bytes:
    """The event as bytes; what cannot be sent is left out and said."""
    try:
        return encode(message)
    except CommandError as error:
        text = message.message.encode(errors="replace").decode()
        return encode(EventMessage(message.device, message.t, message.kind, message.level, text, {"unsendable": str(error)}))
