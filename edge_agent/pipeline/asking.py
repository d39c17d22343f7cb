"""The models of one pipeline, by name: linked and led over by the engine's word, asked one window at a time.

A window in flight survives its worker: when the engine says the worker is lost, or the answer is late, the window waits for the next
link and is asked again, preprocessed anew because the next link may lead to another version. Only when a second worker
dies or hangs while it works on the window is it given up; a worker that never began on it says nothing of it.
"""

from __future__ import annotations

import base64
import select
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.clock import Clock
from edge_agent.errors import ModelError, WorkerDied
from edge_agent.inference.link import Answer
from edge_agent.inference.wire import Channel, Packet, close_all
from edge_agent.pipeline.inbox import Inbox
from edge_agent.pipeline.postprocess import Verdict
from edge_agent.pipeline.served_model import InlineEnd, ServedModel, Version, connect
from edge_agent.pipeline.shadowing import Shadowing
from edge_agent.pipeline.tally import Tally
from edge_agent.pipeline.voice import STATUS_EVERY_NS, Voice
from edge_agent.values import Window

MOST_ATTEMPTS = 2


class Ending(Exception):
    """The engine said to end while no model could be asked."""


class _Lost(Exception):
    """The worker that owed the answer will not give it; ``begun`` when it had begun on the window."""

    def __init__(self, *, begun: bool) -> None:
        self.begun = begun


@dataclass(frozen=True, slots=True)
class Said:
    """What a model said of a window, and how long that took in microseconds."""

    version: Version
    verdict: Verdict
    preprocess_us: float
    infer_us: float
    model_us: float
    postprocess_us: float


class Models:
    """Main thread of the pipeline only. ``tell_status`` is called while it waits."""

    def __init__(
        self,
        names: tuple[str, ...],
        *,
        channel: Channel,
        voice: Voice,
        clock: Clock,
        inbox: Inbox,
        tally: Tally,
        attempt_ms: float,
        hop: int,
        tell_status: Callable[[bool], None],
    ) -> None:
        self.names = names
        self.ending = False
        self.shadowing = Shadowing(clock, attempt_ms)
        self._channel = channel
        self._voice = voice
        self._clock = clock
        self._inbox = inbox
        self._tally = tally
        self._attempt_ns = int(attempt_ms * 1e6)
        self._hop = hop
        self._tell_status = tell_status
        self._models: dict[str, ServedModel] = {}
        self._next: dict[str, Packet] = {}
        self._versions: dict[str, Version] = {}
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)

    @property
    def ready(self) -> bool:
        return len(self._models) == len(self.names)

    def await_all(self) -> None:
        """Until every model is linked. Raises Ending."""
        for name in self.names:
            self._await(name)

    def version(self, name: str) -> Version | None:
        """The version of model ``name`` that was linked last."""
        return self._versions.get(name)

    def hear(self) -> None:
        """Take note of what the engine says."""
        while (packet := self._channel.receive()) is not None:
            self._obey(packet)

    def listen(self) -> None:
        """Do what the engine says, and lead over to new versions. Only where no window is with a worker."""
        self.hear()
        if self._next:
            self._flip()

    def consult(self, name: str, window: Window, values: Any) -> Said:
        """What model ``name`` says of ``values``, which came of ``window``.

        Raises ModelError when the model or the steps refuse, WorkerDied when it was asked twice in vain, Ending.
        """
        attempts, again = 0, False
        while attempts < MOST_ATTEMPTS:
            model = self._await(name)
            self._tally.replayed += again
            try:
                said = self._attempt(model, window, values)
            except _Lost as lost:
                attempts, again = attempts + lost.begun, True
                continue
            except ModelError:
                self._tally.of_version(name, model.version.digest).errors += 1
                raise
            self._tally.of_version(name, model.version.digest).answered(said.infer_us)
            self.shadowing.offer(name, window, values, said.verdict)
            return said
        raise WorkerDied(f"the worker died or hung {MOST_ATTEMPTS} times while it had this window")

    def close(self) -> None:
        self.shadowing.end()
        for name in list(self._models):
            self._forget(name)

    def _attempt(self, model: ServedModel, window: Window, values: Any) -> Said:
        version, clock = model.version, self._clock
        started_ns = clock.monotonic_ns()
        arrays = version.preprocess(values, model.end.room()) if model.room_is_whole else version.preprocess(values)
        if version.manifest.state is not None:
            version.state.meet(window.last_seq, self._hop)
            arrays = {**arrays, **version.state.inputs()}
        asked_ns = clock.monotonic_ns()
        answer = self._ask(model, arrays, asked_ns)
        answered_ns = clock.monotonic_ns()
        verdict = version.postprocess(answer.outputs, arrays, values)
        if version.manifest.state is not None:
            version.state.commit(answer.outputs)
        ended_ns = clock.monotonic_ns()
        return Said(
            version,
            verdict,
            (asked_ns - started_ns) / 1000,
            (answered_ns - asked_ns) / 1000,
            answer.model_us,
            (ended_ns - answered_ns) / 1000,
        )

    def _ask(self, model: ServedModel, arrays: Mapping[str, Any], asked_ns: int) -> Answer:
        """The answer. Raises _Lost when the worker died or let the deadline pass, ModelError when the model refused."""
        end = model.end
        if isinstance(end, InlineEnd):
            return end.run(arrays)
        number = end.ask(arrays)
        deadline_ns = asked_ns + self._attempt_ns
        self._poll.register(end.response_fd, select.POLLIN)
        try:
            while (now_ns := self._clock.monotonic_ns()) < deadline_ns:
                for fd, _ in self._poll.poll(min(deadline_ns - now_ns, STATUS_EVERY_NS) / 1e6 + 1):
                    if fd == end.response_fd and (answer := end.answer(number)) is not None:
                        return _accepted(answer)
                    if fd != end.response_fd:
                        self._hear_while_asking(model, number)
                self._tell_status(False)
        finally:
            self._poll.unregister(end.response_fd)
        self._voice.say({"event": "hung", "link": model.link})
        self._forget(model.version.manifest.name)
        raise _Lost(begun=end.taken(number))

    def _hear_while_asking(self, model: ServedModel, number: int) -> None:
        """Raises _Lost when the worker that was asked is gone."""
        while (packet := self._channel.receive()) is not None:
            self._obey(packet)
        name = model.version.manifest.name
        if self._models.get(name) is not model:
            assert not isinstance(model.end, InlineEnd)
            raise _Lost(begun=model.end.taken(number))

    def _await(self, name: str) -> ServedModel:
        """The model to ask now. Raises Ending."""
        while (model := self._models.get(name)) is None or self._next:
            if self._next:
                self._flip()
                continue
            if self.ending:
                raise Ending
            self._tell_status(False)
            packet = self._channel.wait(self._voice.pause_ms() / 1000 + 0.001)
            if packet is not None:
                self._obey(packet)
        return model

    def _obey(self, packet: Packet) -> None:
        message = packet.message
        op = message["op"]
        if op in ("link", "inline"):
            self._refuse(self._next.pop(message["model"], None), "a newer link came")
            self._next[message["model"]] = packet
        elif op == "lost":
            for name in [name for name, model in self._models.items() if model.link == message["link"]]:
                self._forget(name)
        elif op == "shadow":
            self.shadowing.begin(packet)
        elif op == "unshadow":
            self.shadowing.end()
        elif op == "deliver":
            self._inbox.put(message["topic"], base64.b64decode(message["payload"]))
        elif op == "status":
            self._tell_status(True)
        elif op == "end":
            self.ending = True

    def _flip(self) -> None:
        """Take the links that came last. Only called where no window is with a worker."""
        waiting, self._next = self._next, {}
        for name, packet in waiting.items():
            try:
                model = connect(packet, self._versions.get(name), self._clock)
            except Exception as error:  # whatever is wrong with it, the model that serves goes on serving
                self._refuse(packet, str(error) or type(error).__name__, closed=True)
                continue
            self._forget(name)
            self._models[name], self._versions[name] = model, model.version
            self._tally.of_version(name, model.version.digest)
            self._voice.say({"event": "linked", "link": model.link})

    def _refuse(self, packet: Packet | None, reason: str, *, closed: bool = False) -> None:
        if packet is not None:
            if not closed:
                close_all(packet.fds)
            self._voice.say({"event": "link_refused", "link": packet.message["link"], "reason": reason})

    def _forget(self, name: str) -> None:
        model = self._models.pop(name, None)
        if model is not None:
            model.end.close()


def _accepted(answer: Answer) -> Answer:
    if answer.error:
        raise ModelError(answer.error)
    return answer
