"""The pipeline's main loop: sample, window, models, sinks; and between two windows, the engine's word."""

from __future__ import annotations

import select
from _blake2 import blake2b  # hashlib's own, without the OpenSSL that hashlib maps beside it: 0.5 MiB of every device
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.clock import Clock
from edge_agent.config import StageConfig
from edge_agent.errors import EdgeError, ModelError, WorkerDied
from edge_agent.inference.doorbell import silence
from edge_agent.inference.wire import Channel, ChannelClosed
from edge_agent.pipeline.asking import Ending, Models
from edge_agent.pipeline.chain import Chain
from edge_agent.pipeline.inbox import Inbox
from edge_agent.pipeline.intake import Intake
from edge_agent.pipeline.outlet import Outlet
from edge_agent.pipeline.tally import Tally
from edge_agent.pipeline.voice import Voice
from edge_agent.pipeline.window import WindowMaker
from edge_agent.values import Prediction, Window

MOST_POISONS = 64
SELECT_LIMIT = 1024
"""``select`` takes descriptors below this (select(2))."""
LISTEN_EVERY_NS = 10_000_000
"""How often a pipeline that never waits looks whether the engine said something."""


@dataclass(frozen=True, slots=True)
class RunnerParts:
    """What a pipeline is made of. ``hop`` in samples is what the state of models counts gaps by; ``newest_only`` the policy latest_only."""

    name: str
    attempt_ms: float
    stages: tuple[StageConfig, ...]
    hop: int
    newest_only: bool
    channel: Channel
    voice: Voice
    intake: Intake
    inbox: Inbox
    windower: WindowMaker
    outlet: Outlet
    clock: Clock


class PipelineRunner:
    """Runs one pipeline until told to end."""

    def __init__(self, parts: RunnerParts) -> None:
        self._parts = parts
        self._clock = parts.clock
        self._tally = Tally()
        self._models = Models(
            tuple(stage.model for stage in parts.stages),
            channel=parts.channel,
            voice=parts.voice,
            clock=parts.clock,
            inbox=parts.inbox,
            tally=self._tally,
            attempt_ms=parts.attempt_ms,
            hop=parts.hop,
            tell_status=lambda now: self._tell_status(now=now),
        )
        self._chain = Chain(parts.name, parts.stages, self._models)
        self._busy = False
        self._listened_ns = 0
        self._failing = ""
        self._poisons: OrderedDict[bytes, None] = OrderedDict()
        self._idle_poll = select.poll()
        self._idle_poll.register(parts.channel.fileno(), select.POLLIN)
        self._idle_poll.register(parts.intake.bell_fd, select.POLLIN)
        fds = [parts.channel.fileno(), parts.intake.bell_fd]
        self._selectable = fds if max(fds) < SELECT_LIMIT else []
        parts.outlet.meanwhile = self._while_blocked

    def run(self) -> None:
        """Until the engine says to end. Raises ChannelClosed when the engine is gone."""
        try:
            self._models.await_all()
            self._parts.intake.start()
            while not self._models.ending:
                self._step()
        except Ending:
            pass
        finally:
            self._parts.intake.stop()
            self._parts.outlet.close()
            self._models.close()
        self._tell_status(now=True)

    def _step(self) -> None:
        """What one sample or block brings, or one wait for it."""
        taken = self._take()
        if taken is None:
            self._pause()
        else:
            windows, queued_ns = taken
            for window in windows:
                self._settle(window, queued_ns)
                if self._models.ending:
                    break
            if self._clock.monotonic_ns() >= self._listened_ns + LISTEN_EVERY_NS:
                self._listen()
        self._tell_status()

    def _listen(self) -> None:
        self._models.listen()
        self._listened_ns = self._clock.monotonic_ns()

    def _take(self) -> tuple[Sequence[Window], int] | None:
        """The windows that the next sample or block completes, and when it was queued; with ``newest_only`` the last of all that waits."""
        parts = self._parts
        if not parts.newest_only:
            queued = parts.intake.take()
            if queued is None:
                return None
            self._tally.take(queued[0].rows)
            return parts.windower.push(queued[0]), queued[1]
        waiting = parts.intake.take_all()
        newest: tuple[Window, int] | None = None
        for sample, queued_ns in waiting:
            self._tally.take(sample.rows)
            for window in parts.windower.push(sample):
                if newest is not None:
                    self._tally.pass_over(newest[0].settles)
                newest = (window, queued_ns)
        if newest is None:
            return ((), 0) if waiting else None
        return (newest[0],), newest[1]

    def _settle(self, window: Window, queued_ns: int) -> None:
        """See the window through to a prediction or to a counted failure."""
        taken_ns = self._clock.monotonic_ns()
        self._busy = True
        try:
            prediction = self._predict(window, queued_ns, taken_ns)
        except (ChannelClosed, Ending):
            raise
        except (EdgeError, ValueError, TypeError, ArithmeticError, LookupError) as error:
            self._tally.settle(window.settles, failed=True)
            self._tell_failure(window, str(error) or type(error).__name__)
        else:
            self._failing = ""
            self._tally.record(prediction)
            if prediction.expected is not None:
                self._tally.score(prediction.expected, self._chain.label_index(prediction))
            self._tally.settle(window.settles, failed=False)
            self._parts.outlet.emit(prediction)
        finally:
            self._busy = False

    def _predict(self, window: Window, queued_ns: int, taken_ns: int) -> Prediction:
        """Raises ModelError for a window that the models refuse, or that killed its worker twice before."""
        if self._poisons and _digest(window) in self._poisons:
            raise ModelError("the same values have killed the model's worker twice; they are not tried again")
        try:
            return self._chain.predict(window, queued_ns, taken_ns, self._clock)
        except WorkerDied:
            self._poisons[_digest(window)] = None
            if len(self._poisons) > MOST_POISONS:
                self._poisons.popitem(last=False)
            raise

    def _pause(self) -> None:
        """Until a sample or a message comes, or a look at the status is due."""
        if self._parts.intake.enough(self._parts.windower.needs):
            return
        bell_fd = self._parts.intake.bell_fd
        for fd in self._wait():
            if fd == bell_fd:
                silence(bell_fd)
            else:
                self._listen()

    def _wait(self) -> list[int]:
        """Descriptors that became ready. To the microsecond where a sample's time is known: ``poll`` counts in whole milliseconds."""
        pause_ms, due_ms = self._parts.voice.pause_ms() + 1, self._parts.intake.wait_ms()
        if due_ms is None or due_ms > pause_ms or not self._selectable:
            return [fd for fd, _ in self._idle_poll.poll(pause_ms if due_ms is None else min(pause_ms, due_ms))]
        return select.select(self._selectable, (), (), due_ms / 1000)[0]

    def _while_blocked(self) -> bool:
        """A sink whose policy is to block keeps us: that is no reason to think the pipeline stuck."""
        self._busy = False
        self._tell_status()
        self._models.hear()
        return not self._models.ending

    def _tell_failure(self, window: Window, reason: str) -> None:
        """Once for each new reason, not for every window that fails of it."""
        if reason != self._failing:
            self._failing = reason
            self._parts.voice.event("window_failed", "error", f"window {window.seq}: {reason}", {"window": window.seq, "reason": reason})

    def _tell_status(self, *, now: bool = False) -> None:
        if not (now or self._parts.voice.due()):
            return
        parts = self._parts
        parts.outlet.flush()
        self._models.shadowing.hear()
        ended = parts.intake.ended  # before the counts: what it put in last is then among them
        waiting = parts.intake.counts()
        busy = self._busy or waiting.waiting >= parts.windower.needs
        brief: dict[str, Any] = {
            "state": "waiting" if not self._models.ready else "ended" if ended and not busy else "running",
            "counters": plain(self._tally.counters(waiting, parts.windower.discarded, parts.inbox.lost)),
            "busy": busy,
            "sinks": {name: plain(counts) for name, counts in parts.outlet.counts().items()},
            "shadow": plain(self._models.shadowing.report),
            "last_error": self._failing or parts.intake.last_error or parts.outlet.last_error,
        }
        parts.voice.status(brief, self._totals, now=now)

    def _totals(self) -> dict[str, Any]:
        return {
            "latency": self._tally.latency(),
            "serving": {model: totals.told() for model, totals in self._tally.serving.items()},
        }


def plain(value: Any) -> dict[str, Any]:
    """The fields of a flat dataclass: what ``asdict`` makes of it, without copying what cannot change."""
    return {name: getattr(value, name) for name in value.__slots__}


def _digest(window: Window) -> bytes:
    return blake2b(window.values.tobytes(), digest_size=16).digest()
