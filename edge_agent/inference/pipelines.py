"""One pipeline process as the engine sees it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from edge_agent.clock import monotonic_s
from edge_agent.config import PipelineConfig
from edge_agent.errors import ConfigError, EdgeError, Problem
from edge_agent.inference.asker import Asker, OnHung, OnInlineDeath
from edge_agent.inference.context import AGAIN_S, Context
from edge_agent.inference.layout import SLOTS
from edge_agent.inference.wire import Packet, close_all
from edge_agent.inference.workers import Server, Worker
from edge_agent.inference.zygote_client import Child, Exit
from edge_agent.pipeline.told import PipelineTold, ServingTotals, prediction_from, sum_totals
from edge_agent.values import PipelineStatus


class PipelineHandle(Asker):
    """Keeps one pipeline process alive and linked. Loop's thread only, but for waiting on futures. ``on_change(handle)`` asks for links."""

    def __init__(
        self,
        context: Context,
        config: PipelineConfig,
        on_change: Callable[[PipelineHandle], None],
        on_hung: OnHung,
        on_inline_death: OnInlineDeath,
    ) -> None:
        super().__init__(context, on_hung, on_inline_death, f"pipeline {config.name}", slots=SLOTS, single=True)
        self.config = config
        self.name = config.name
        self.told = PipelineTold()
        self.ended: dict[str, ServingTotals] = {}
        self.windows_before = 0
        self.models = config.models
        self._on_change = on_change
        self._restarts = 0
        self._refusal = ""
        self._unlinked = ""
        self._versions: dict[str, str] = {}
        self._undelivered = 0
        self.child = self._spawn()

    def holdup(self, lacks: str) -> str:
        """Why it takes no samples yet, empty when it does; ``lacks`` says which model does not serve.

        Raises EdgeError when it never will.
        """
        if self._refusal:
            raise EdgeError(self._refusal)
        return self._unlinked or ("" if self.started.done() else lacks or "it is slow to start")

    def aim(self, model: str, targets: list[Server]) -> None:
        """Have it ask one of ``targets`` for ``model``: the one it asks now where that is among them."""
        current = self.linkage.current(model)
        if self.alive and targets and (current is None or current.worker not in targets):
            self.linkage.attach(targets[0])

    def shadow(self, worker: Worker | None) -> None:
        """Have ``worker`` answer unseen beside the one that serves; ``None`` ends it."""
        if self.alive:
            self.linkage.shadow(worker)

    def deliver(self, topic: str, payload: bytes) -> None:
        """Hand a broker's message to the pipeline's source; counted as dropped when the pipeline does not read."""
        message = {"op": "deliver", "topic": topic, "payload": base64.b64encode(payload).decode()}
        if not self.child.send(message):
            self._undelivered += 1

    def stalled_s(self, now_s: float) -> float:
        """How long something has waited without progress, or nothing was heard; 0 when all is well."""
        waits = set(self._versions) != set(self.models)  # for its models: no fault of this agent that a start of it would mend
        return 0.0 if self._refusal or self._stopping or waits else max(0.0, now_s - self._moved_s)

    def status(self, lacks: str = "") -> PipelineStatus:
        """As it last told; ``lacks`` says which model it waits for, if any."""
        return self.told.status(
            self.config.name,
            self.config.model,
            self._versions.get(self.config.model, ""),
            state=("failed" if self._refusal else "") or ("" if self.alive else "restarting"),
            pid=self.child.pid if self.alive else None,
            restarts=self._restarts,
            undelivered=self._undelivered,
            error=self._refusal or self._unlinked or lacks,
        )

    def _spawn(self) -> Child:
        config = self.config
        child = self._context.zygote.spawn("pipeline", f"edge-{config.name}", self._hear, self._exited)
        child.send(
            {
                "op": "start",
                "name": config.name,
                "source": {"kind": config.source.kind, "options": _plain(config.source.options)},
                "sinks": [{"kind": sink.kind, "options": _plain(sink.options)} for sink in config.sinks],
                "window": {
                    "length": config.length,
                    "hop": config.hop,
                    "length_s": config.length_s,
                    "hop_s": config.hop_s,
                    "on_gap": config.on_gap,
                },
                "queue": config.queue,
                "policy": config.policy,
                "stages": [{"model": config.model}, *(asdict(stage) for stage in config.then)],
                "attempt_ms": self._context.config.attempt_ms,
            }
        )
        return child

    def _hear(self, packet: Packet) -> None:
        close_all(packet.fds)
        self._heard_s = monotonic_s(self._context.clock)
        message = packet.message
        event = message["event"]
        if event == "status":
            if self.told.update(message):
                self._moved_s = monotonic_s(self._context.clock)
        elif event == "publish":
            self._context.publish(self.config.name, message["suffix"], prediction_from(message["prediction"]))
        elif event == "linked":
            self._taken(message["link"])
        elif event == "link_refused":
            self._not_taken(message["link"], message["reason"])
        elif event == "hung":
            self._hung(message["link"])
        elif event == "event":
            data = {"pipeline": self.config.name, **message["data"]}
            self._context.tell(message["kind"], message["level"], f"{self.config.name}: {message['message']}", data)
        elif event == "refused":
            self._refusal = message["reason"]

    def _tell_stuck(self, what: str) -> None:
        self._context.tell("pipeline_stuck", "error", what, {"pipeline": self.name, "pid": self.child.pid})

    def _taken(self, number: int) -> None:
        attachment = self.linkage.taken(number)
        if attachment is None:
            return
        begun = set(self._versions) == set(self.models)
        self._versions[attachment.model] = attachment.worker.version.manifest.version
        self._unlinked = ""
        if not begun and set(self._versions) == set(self.models):
            if not self.started.done():
                self.started.set_result(None)
            data = {"pipeline": self.name, "model": self.config.model, "pid": self.child.pid}
            self._context.tell("pipeline_started", "info", f"{self.name} runs", data)

    def _not_taken(self, number: int, reason: str) -> None:
        self.linkage.refused(number, reason)
        self._unlinked = f"pipeline {self.name} cannot use the model: {reason}"
        if not self.started.done():
            self.started.set_exception(EdgeError(self._unlinked))

    def _exited(self, exit_: Exit) -> None:
        linked = self.linkage.clear("the pipeline process died")
        self.ended = sum_totals(self.ended, self.told.serving)
        self.windows_before += self.told.counters.windows
        if self._stopping:
            return
        self._tell_inline_deaths(linked, exit_)
        if self._refusal and not self.started.done():
            self.started.set_exception(ConfigError([Problem(f"pipelines.{self.config.name}", self._refusal)]))
        data = {"pipeline": self.config.name, "pid": self.child.pid, "signal": exit_.signal, "code": exit_.code}
        self._context.tell("pipeline_died", "error", f"{self.config.name}: {self._refusal or exit_}", data)
        if not self._refusal:
            delay_s = self._record.died(monotonic_s(self._context.clock)).delay_s
            self._context.loop.later(delay_s, self._restart)

    def _restart(self) -> None:
        if self._stopping:
            return
        try:
            self.child = self._spawn()
        except OSError:  # no descriptor or no memory just now: that must not end the pipeline for good
            self._context.loop.later(AGAIN_S, self._restart)
            return
        self._restarts += 1
        self._heard_s = None
        self.told = PipelineTold()
        self._on_change(self)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as JSON takes them: paths become text."""
    return {
        key: value if isinstance(value, (str, int, float, bool, list, dict, type(None))) else str(value) for key, value in options.items()
    }
