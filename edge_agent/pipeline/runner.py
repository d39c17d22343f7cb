"""The pipeline's main loop: sample, window, preprocess, worker, postprocess, sinks; and between two windows, the engine's word.

A window in flight survives its worker: when the engine says the worker is lost, or the answer is late, the window waits for the next
link and is asked again, preprocessed anew because the next link may lead to another version. Only when a second worker
dies or hangs while it works on the window is the window counted failed; a worker that never began on it says nothing of it.
"""

from __future__ import annotations

import base64
import select
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edge_agent.clock import Clock
from edge_agent.errors import EdgeError, ModelError, WorkerDied
from edge_agent.inference.doorbell import silence
from edge_agent.inference.link import Answer
from edge_agent.inference.wire import Channel, ChannelClosed, Packet, close_all
from edge_agent.pipeline.inbox import Inbox
from edge_agent.pipeline.intake import Intake
from edge_agent.pipeline.outlet import Outlet
from edge_agent.pipeline.served_model import ServedModel, connect
from edge_agent.pipeline.tally import ServingTotals, Tally
from edge_agent.pipeline.voice import STATUS_EVERY_NS, Voice
from edge_agent.pipeline.window import WindowMaker
from edge_agent.values import Prediction, StageTimes, Window

MOST_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class RunnerParts:
    """What a pipeline is made of."""

    name: str
    deadline_ms: float
    channel: Channel
    voice: Voice
    intake: Intake
    inbox: Inbox
    windower: WindowMaker
    outlet: Outlet
    clock: Clock


class _Ending(Exception):
    """The engine said to end while no model could be asked."""


class _Lost(Exception):
    """The worker that owed the answer will not give it; ``begun`` when it had begun on the window."""

    def __init__(self, *, begun: bool) -> None:
        self.begun = begun


class PipelineRunner:
    """Runs one pipeline until told to end."""

    def __init__(self, parts: RunnerParts) -> None:
        self._parts = parts
        self._channel = parts.channel
        self._clock = parts.clock
        self._voice = parts.voice
        self._tally = Tally()
        self._model: ServedModel | None = None
        self._next_model: Packet | None = None
        self._ending = False
        self._busy = False
        self._failing = ""
        self._idle_poll = select.poll()
        self._idle_poll.register(parts.channel.fileno(), select.POLLIN)
        self._idle_poll.register(parts.intake.bell_fd, select.POLLIN)
        self._answer_poll = select.poll()
        self._answer_poll.register(parts.channel.fileno(), select.POLLIN)

    def run(self) -> None:
        """Until the engine says to end. Raises ChannelClosed when the engine is gone."""
        try:
            self._await_model()
            self._parts.intake.start()
            while not self._ending:
                self._step()
        except _Ending:
            pass
        finally:
            self._parts.intake.stop()
            self._parts.outlet.close()
        self._tell_status(now=True)

    def _step(self) -> None:
        """One sample, or one wait for it."""
        taken = self._parts.intake.take()
        if taken is None:
            self._pause()
        else:
            sample, queued_ns = taken
            self._tally.pending += sample.rows
            windows = self._parts.windower.push(sample)
            self._tally.leave_out(self._parts.windower.discarded)
            for window in windows:
                self._settle(window, queued_ns)
        self._listen()
        self._flip()
        self._tell_status()

    def _settle(self, window: Window, queued_ns: int) -> None:
        """See the window through to a prediction or to a counted failure."""
        taken_ns = self._clock.monotonic_ns()
        self._busy = True
        try:
            prediction = self._predict(window, queued_ns, taken_ns)
        except ChannelClosed:
            raise
        except (EdgeError, ValueError, TypeError, ArithmeticError, LookupError) as error:
            self._tally.settle(window.settles, failed=True)
            self._tell_failure(window, str(error) or type(error).__name__)
        else:
            self._failing = ""
            self._tally.record(prediction)
            self._tally.settle(window.settles, failed=False)
            self._parts.outlet.emit(prediction)
        finally:
            self._busy = False

    def _predict(self, window: Window, queued_ns: int, taken_ns: int) -> Prediction:
        """Raises ModelError when the model or the steps refuse the window, WorkerDied when it was asked twice in vain."""
        attempts, again = 0, False
        while attempts < MOST_ATTEMPTS:
            model = self._await_model()
            self._tally.replayed += again
            started_ns = self._clock.monotonic_ns()
            arrays = model.preprocess(window.values)
            asked_ns = self._clock.monotonic_ns()
            try:
                answer = self._ask(model, arrays, asked_ns)
            except _Lost as lost:
                attempts, again = attempts + lost.begun, True
                continue
            answered_ns = self._clock.monotonic_ns()
            verdict = model.postprocess(answer.outputs)
            ended_ns = self._clock.monotonic_ns()
            self._tally.score(window.label, model.label_index(verdict.label))
            times = StageTimes(
                queue_us=(taken_ns - queued_ns) / 1000,
                preprocess_us=(asked_ns - started_ns) / 1000,
                infer_us=(answered_ns - asked_ns) / 1000,
                model_us=answer.model_us,
                postprocess_us=(ended_ns - answered_ns) / 1000,
                total_us=(ended_ns - queued_ns) / 1000,
            )
            return Prediction(
                self._parts.name,
                model.manifest.name,
                model.manifest.version,
                window.seq,
                window.first_seq,
                window.last_seq,
                window.end_ns,
                verdict.label,
                verdict.score,
                verdict.scores,
                times,
                window.label,
            )
        raise WorkerDied(f"the worker died or hung {MOST_ATTEMPTS} times while it had this window")

    def _ask(self, model: ServedModel, arrays: Mapping[str, Any], asked_ns: int) -> Answer:
        """The worker's answer. Raises _Lost when it died or let the deadline pass, ModelError when the model refused."""
        number = model.end.ask(arrays)
        answer_fd = model.end.response_fd
        deadline_ns = asked_ns + int(self._parts.deadline_ms * 1e6)
        self._answer_poll.register(answer_fd, select.POLLIN)
        try:
            while (now_ns := self._clock.monotonic_ns()) < deadline_ns:
                ready = [fd for fd, _ in self._answer_poll.poll(min(deadline_ns - now_ns, STATUS_EVERY_NS) / 1e6 + 1)]
                if answer_fd in ready:
                    answer = model.end.answer(number)
                    if answer is not None:
                        return _accepted(answer)
                if ready:
                    self._listen()
                    if self._model is not model:
                        raise _Lost(begun=model.end.taken(number))
                self._tell_status()
        finally:
            self._answer_poll.unregister(answer_fd)
        self._voice.say({"event": "hung", "link": model.link})
        self._forget_model()
        raise _Lost(begun=model.end.taken(number))

    def _await_model(self) -> ServedModel:
        """The model to ask now. Waits for one as long as it takes; samples queue meanwhile."""
        while True:
            self._flip()
            if self._model is not None:
                return self._model
            if self._ending:
                raise _Ending
            self._tell_status()
            packet = self._channel.wait(self._voice.pause_ms() / 1000 + 0.001)
            if packet is not None:
                self._obey(packet)

    def _pause(self) -> None:
        """Until a sample or a message comes, or a look at the status is due."""
        silence(self._parts.intake.bell_fd)
        if not self._parts.intake.counts().waiting:
            self._idle_poll.poll(self._voice.pause_ms() + 1)

    def _listen(self) -> None:
        while (packet := self._channel.receive()) is not None:
            self._obey(packet)

    def _obey(self, packet: Packet) -> None:
        op = packet.message["op"]
        if op == "link":
            self._refuse(self._next_model, "a newer link came")
            self._next_model = packet
        elif op == "lost":
            if self._model is not None and self._model.link == packet.message["link"]:
                self._forget_model()
        elif op == "deliver":
            self._parts.inbox.put(packet.message["topic"], base64.b64decode(packet.message["payload"]))
        elif op == "status":
            self._tell_status(now=True)
        elif op == "end":
            self._ending = True

    def _flip(self) -> None:
        """Take the model that was named last. Only called where no window is with a worker."""
        packet, self._next_model = self._next_model, None
        if packet is None:
            return
        try:
            model = connect(packet)
        except Exception as error:  # whatever is wrong with it, the model that serves goes on serving
            self._voice.say({"event": "link_refused", "link": packet.message["link"], "reason": str(error) or type(error).__name__})
            return
        self._forget_model()
        self._model = model
        if self._tally.serving.digest != model.digest:
            self._tally.serving = ServingTotals(model.digest)
        self._voice.say({"event": "linked", "link": model.link})

    def _refuse(self, packet: Packet | None, reason: str) -> None:
        if packet is not None:
            close_all(packet.fds)
            self._voice.say({"event": "link_refused", "link": packet.message["link"], "reason": reason})

    def _forget_model(self) -> None:
        if self._model is not None:
            self._model.end.close()
            self._model = None

    def _tell_failure(self, window: Window, reason: str) -> None:
        """Once for each new reason, not for every window that fails of it."""
        if reason != self._failing:
            self._failing = reason
            self._voice.event("window_failed", "error", f"window {window.seq}: {reason}", {"window": window.seq, "reason": reason})

    def _tell_status(self, *, now: bool = False) -> None:
        if not (now or self._voice.due()):
            return
        parts = self._parts
        parts.outlet.flush()
        ended = parts.intake.ended  # before the counts: what it put in last is then among them
        waiting = parts.intake.counts()
        busy = self._busy or waiting.waiting > 0
        counters = self._tally.counters(waiting, parts.inbox.lost)
        brief = {
            "state": "waiting" if self._model is None else "ended" if ended and not busy else "running",
            "counters": asdict(counters),
            "busy": busy,
            "last_error": self._failing or parts.intake.last_error or parts.outlet.last_error,
        }
        parts.voice.status(brief, lambda: {"latency": self._tally.latency(), "serving": self._tally.serving.told()}, now=now)


def _accepted(answer: Answer) -> Answer:
    if answer.error:
        raise ModelError(answer.error)
    return answer
