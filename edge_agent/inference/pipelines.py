"""One pipeline process as the engine sees it."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from edge_agent.bundle.manifest import to_json
from edge_agent.clock import monotonic_s
from edge_agent.config import PipelineConfig
from edge_agent.errors import ConfigError, EdgeError, Problem
from edge_agent.inference.context import AGAIN_S, Context
from edge_agent.inference.crashes import CrashRecord
from edge_agent.inference.doorbell import create_link
from edge_agent.inference.layout import layout_for
from edge_agent.inference.wire import Packet, close_all
from edge_agent.inference.workers import Worker
from edge_agent.inference.zygote_client import Child, Exit
from edge_agent.pipeline.told import PipelineTold, ServingTotals, prediction_from
from edge_agent.values import PipelineStatus


@dataclass(slots=True)
class Attachment:
    """A link that was sent to the pipeline; ``taken`` resolves when the pipeline uses it, or fails with the reason it does not."""

    number: int
    worker: Worker
    taken: Future[None]


class PipelineHandle:
    """Keeps one pipeline process alive and linked. Loop's thread only, but for waiting on futures.

    ``on_change(handle)`` asks for a link; ``on_hung(worker)`` says that a worker let a deadline pass.
    """

    def __init__(
        self, context: Context, config: PipelineConfig, on_change: Callable[[PipelineHandle], None], on_hung: Callable[[Worker], None]
    ) -> None:
        self.config = config
        self.told = PipelineTold()
        self.ended = ServingTotals()
        self.windows_before = 0
        self.started: Future[None] = Future()
        self.attachment: Attachment | None = None
        self._context = context
        self._on_change = on_change
        self._on_hung = on_hung
        self._attachments: dict[int, Attachment] = {}
        self._numbers = itertools.count()
        self._record = CrashRecord(context.config.crash_limit, context.config.crash_window_s)
        self._restarts = 0
        self._refusal = ""
        self._version = ""
        self._undelivered = 0
        self._stopping = False
        self._moved_s = monotonic_s(context.clock)
        self.child = self._spawn()

    def attach(self, worker: Worker) -> Attachment:
        """Link the pipeline to ``worker``; what it has in flight it finishes with the worker that has it, while that lives."""
        if self.attachment is not None and self.attachment.worker is worker:
            return self.attachment
        attachment = Attachment(next(self._numbers), worker, Future())
        fds = create_link(layout_for(worker.version.manifest).total_bytes)
        message = {
            "op": "link",
            "link": attachment.number,
            "digest": worker.version.digest,
            "manifest": to_json(worker.version.manifest).decode(),
        }
        try:
            given = worker.link(attachment.number, fds) and self.child.send(message, fds.all())
        finally:
            fds.close()
        self._attachments[attachment.number] = attachment
        self.attachment = attachment
        if not given:
            self._drop(attachment, "the worker or the pipeline is gone")
        return attachment

    def lost(self, worker: Worker) -> None:
        """``worker`` is dead: whatever it owed will not come."""
        for attachment in [a for a in self._attachments.values() if a.worker is worker]:
            self.child.send({"op": "lost", "link": attachment.number})
            self._drop(attachment, "the worker died")

    def deliver(self, topic: str, payload: bytes) -> None:
        """Hand a broker's message to the pipeline's source; counted as dropped when the pipeline does not read."""
        message = {"op": "deliver", "topic": topic, "payload": base64.b64encode(payload).decode()}
        if not self.child.send(message):
            self._undelivered += 1

    def stop(self) -> Future[Exit]:
        """Ask the process to end, and do not start it again."""
        self._stopping = True
        self.child.send({"op": "end"})
        return self.child.exited

    def stalled_s(self, now_s: float) -> float:
        """How long something has waited without progress, or nothing was heard; 0 when all is well."""
        return 0.0 if self._refusal or self._stopping else max(0.0, now_s - self._moved_s)

    def status(self) -> PipelineStatus:
        alive = not self.child.exited.done()
        return self.told.status(
            self.config.name,
            self.config.model,
            self._version,
            state=("failed" if self._refusal else "") or ("" if alive else "restarting"),
            pid=self.child.pid if alive else None,
            restarts=self._restarts,
            undelivered=self._undelivered,
            error=self._refusal,
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
                "length": config.length,
                "hop": config.hop,
                "queue": config.queue,
                "deadline_ms": self._context.config.deadline_ms,
            }
        )
        return child

    def _hear(self, packet: Packet) -> None:
        close_all(packet.fds)
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

    def _taken(self, number: int) -> None:
        current = self._attachments.get(number)
        if current is None:
            return
        for attachment in [a for a in self._attachments.values() if a.number < number]:
            attachment.worker.unlink(attachment.number)
            self._drop(attachment, "a newer link was taken")
        _resolve(current.taken)
        self._version = current.worker.version.manifest.version
        if not self.started.done():
            self.started.set_result(None)
            data = {"pipeline": self.config.name, "model": self.config.model, "pid": self.child.pid}
            self._context.tell("pipeline_started", "info", f"{self.config.name} runs", data)

    def _not_taken(self, number: int, reason: str) -> None:
        attachment = self._attachments.get(number)
        if attachment is None:
            return
        attachment.worker.unlink(number)
        self._drop(attachment, reason)
        if not self.started.done():
            self.started.set_exception(EdgeError(f"pipeline {self.config.name} cannot use the model: {reason}"))

    def _hung(self, number: int) -> None:
        attachment = self._attachments.get(number)
        if attachment is not None:
            self._drop(attachment, "the worker did not answer in time")
            self._on_hung(attachment.worker)

    def _drop(self, attachment: Attachment, reason: str) -> None:
        self._attachments.pop(attachment.number, None)
        if self.attachment is attachment:
            # What is still linked is what the pipeline goes on with.
            self.attachment = max(self._attachments.values(), key=lambda a: a.number, default=None)
        if not attachment.taken.done():
            attachment.taken.set_exception(EdgeError(f"pipeline {self.config.name}: {reason}"))

    def _exited(self, exit_: Exit) -> None:
        for attachment in list(self._attachments.values()):
            attachment.worker.unlink(attachment.number)
            self._drop(attachment, "the pipeline process died")
        self.ended = self.ended.plus(self.told.serving)
        self.windows_before += self.told.counters.windows
        if self._stopping:
            return
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
        self.told = PipelineTold()
        self._on_change(self)


def _resolve(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as JSON takes them: paths become text."""
    return {
        key: value if isinstance(value, (str, int, float, bool, list, dict, type(None))) else str(value) for key, value in options.items()
    }
