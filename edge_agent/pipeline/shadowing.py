"""A candidate that answers beside the model that serves: asked the same windows, never waited for, compared and forgotten."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from edge_agent.clock import Clock
from edge_agent.inference.wire import Packet
from edge_agent.pipeline.postprocess import Verdict
from edge_agent.pipeline.served_model import InlineEnd, ServedModel, connect
from edge_agent.pipeline.shadow import ShadowReport, differs
from edge_agent.values import Window


@dataclass(frozen=True, slots=True)
class _Asked:
    """The question that is out: its number, when it was asked, of which window, what was fed, and what the serving model said of it."""

    number: int
    asked_ns: int
    values: Any
    arrays: Any
    verdict: Verdict


class Shadowing:
    """Main thread of the pipeline only. While one question is out, other windows pass it by."""

    def __init__(self, clock: Clock, limit_ms: float) -> None:
        self._clock = clock
        self._limit_ns = int(limit_ms * 1e6)
        self._name = ""
        self._model: ServedModel | None = None
        self._asked: _Asked | None = None
        self.report = ShadowReport()

    def begin(self, packet: Packet) -> None:
        """The candidate of a ``shadow`` message; one that cannot be used counts as failed."""
        self.end()
        self.report = ShadowReport(packet.message["digest"])
        try:
            self._model = connect(packet, None, self._clock)
        except Exception:  # a candidate must not disturb what serves
            self._fail()
        self._name = packet.message["model"]

    def offer(self, name: str, window: Window, values: Any, verdict: Verdict) -> None:
        """``window`` and what the serving version of ``name`` said of it."""
        self.hear()
        model = self._model
        if model is None or name != self._name or self._asked is not None:
            return
        try:
            self._ask(model, window, values, verdict)
        except Exception:  # its steps may fail in any way
            self._fail()

    def hear(self) -> None:
        """Take the answer when it is there."""
        model, asked = self._model, self._asked
        if model is None or asked is None or isinstance(model.end, InlineEnd):
            return
        answer = model.end.answer(asked.number)
        if answer is None:
            if self._clock.monotonic_ns() - asked.asked_ns > self._limit_ns:
                self._fail()
                self._drop()
            return
        self._asked = None
        if answer.error:
            self._fail()
            return
        try:
            said = model.version.postprocess(answer.outputs, asked.arrays, asked.values)
            if model.version.manifest.state is not None:
                model.version.state.commit(answer.outputs)
        except Exception:
            self._fail()
            return
        other, difference = differs(asked.verdict.label, asked.verdict.scores, said.label, said.scores)
        self.report = self.report.plus(ShadowReport(self.report.digest, 1, int(other), difference))

    def end(self) -> None:
        """Forget the candidate; its report stands."""
        self.hear()
        self._drop()

    def _ask(self, model: ServedModel, window: Window, values: Any, verdict: Verdict) -> None:
        assert not isinstance(model.end, InlineEnd)
        arrays = model.version.preprocess(values)
        if model.version.manifest.state is not None:
            model.version.state.meet(window.last_seq, 1)
            arrays = {**arrays, **model.version.state.inputs()}
        self._asked = _Asked(model.end.ask(arrays), self._clock.monotonic_ns(), values, arrays, verdict)

    def _drop(self) -> None:
        if self._model is not None:
            self._model.end.close()
        self._model, self._asked = None, None

    def _fail(self) -> None:
        self.report = replace(self.report, failed=self.report.failed + 1)
