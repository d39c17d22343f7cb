"""The control process: starts everything in the right order, keeps it running, ends it without leaving anything behind.

Order matters. The models that are active serve first, before the broker is reached and before an interrupted update goes on:
a device without a network, or in the middle of an update, answers all the same.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_agent import __version__
from edge_agent.bring_up import bring_up, restore_pointers
from edge_agent.clock import Clock
from edge_agent.commands import CommandDesk
from edge_agent.config import AgentConfig, PipelineConfig
from edge_agent.errors import EdgeError, StoreError
from edge_agent.events import EventFan
from edge_agent.factory import install_factory_models
from edge_agent.inference.engine import Engine
from edge_agent.inference.waits import Stopping
from edge_agent.local_api import LocalApi
from edge_agent.notify import Notifier
from edge_agent.results import ResultBoard, Settled
from edge_agent.serving.local_server import LocalServer
from edge_agent.stages import stage_problems
from edge_agent.telemetry.reporter import Reporter
from edge_agent.transport.mqtt import MqttTransport
from edge_agent.transport.outbox import SqliteOutbox
from edge_agent.tuner import Tuner
from edge_agent.update.compatibility import DeviceFacts
from edge_agent.update.machine import RESTING, UpdateCommand
from edge_agent.update.store import FileStore
from edge_agent.update.updater import Updater
from edge_agent.values import Event

IDLE_TICK_S = 1.0
STEP_S = 180.0
"""How long one model, or all pipelines, may take to start before the service manager gives up on the whole start."""


@dataclass(slots=True)
class Parts:
    """Everything the agent is made of, put together by ``assemble``. Only what the agent itself calls is here."""

    config: AgentConfig
    facts: DeviceFacts
    clock: Clock
    events: EventFan
    store: FileStore
    engine: Engine
    updater: Updater
    outbox: SqliteOutbox
    reporter: Reporter
    desk: CommandDesk
    results: ResultBoard
    uploads: Path
    transport: MqttTransport | None
    local: LocalServer
    api: LocalApi
    tuner: Tuner | None
    notifier: Notifier
    last_words: bytes
    publish_status: Callable[[], None]


def _nothing() -> None:
    """What there is to do for a part that is not there."""


class Agent:
    """``start``, ``run`` until told to stop, ``stop``. ``rescue`` is called by the engine when a model crashes again and again."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self._halt = threading.Event()
        self._crashing: dict[str, str] = {}
        self._pipelines_lock = threading.Lock()

    def start(self) -> None:
        """Bring everything up. Raises EdgeError when the device can do nothing useful at all. :meth:`halt` cuts it short."""
        with contextlib.suppress(Stopping):
            self._start()

    def _start(self) -> None:
        p = self._p
        p.store.recover()
        record = p.updater.recover()  # what is to be rolled back is not started once more
        restore_pointers(p.store, record, self._event)
        install_factory_models(p.config.models, p.store, p.facts, self._event)
        p.engine.start()
        for model in p.config.models:
            p.notifier.extend_timeout(STEP_S)
            bring_up(model, p.store, p.engine, p.facts, self._event)
        p.notifier.extend_timeout(STEP_S)
        self.start_pipelines()
        p.local.start()
        self._start_api()
        p.reporter.start()
        if p.transport is not None:
            p.transport.start()
        p.updater.start()
        if p.tuner is not None:
            p.tuner.start()
        self._tidy_up()
        self._event("agent_started", "info", f"edge-agent {__version__} serves as {p.config.device.id} ({p.facts.profile})")
        p.notifier.ready()

    def run(self) -> None:
        """Feed the watchdog while inference makes progress, until :meth:`halt`."""
        p = self._p
        limit_s = p.notifier.watchdog_interval_s()
        tick_s = min(IDLE_TICK_S, limit_s / 4) if limit_s else IDLE_TICK_S
        while not self._halt.wait(tick_s):
            stalled_s = p.engine.stalled_s()
            if limit_s is None or stalled_s < limit_s / 2:
                p.notifier.watchdog()
            p.notifier.status(self._status_line(stalled_s))
            self._rescue_due()

    def halt(self) -> None:
        """Make :meth:`start` and :meth:`run` return; safe in a signal handler."""
        self._halt.set()
        self._p.engine.halt()

    def stop(self) -> None:
        """End everything; an update in progress stays in the journal and goes on at the next start."""
        p = self._p
        p.notifier.stopping()
        self._event("agent_stopping", "info", "told to stop")
        transport = p.transport
        hang_up = (lambda: transport.stop(last_words=p.last_words)) if transport is not None else (lambda: None)
        for end in (
            p.local.stop,
            p.api.stop,
            p.tuner.stop if p.tuner is not None else _nothing,
            p.updater.stop,
            p.desk.stop,
            lambda: p.engine.stop(timeout_s=5.0),
            p.reporter.stop,
            hang_up,
            p.outbox.close,
        ):
            try:
                end()
            except Exception:  # one part that cannot end well must not keep the others from it
                logging.getLogger(__name__).exception("a part of the agent did not end well")

    def start_pipelines(self) -> None:
        """Start every configured pipeline whose model serves and that does not run yet."""
        with self._pipelines_lock:
            serving = {m.name for m in self._p.engine.models()}
            running = {status.name for status in self._p.engine.pipelines()}
            for pipeline in self._p.config.pipelines:
                if serving.issuperset(pipeline.models) and pipeline.name not in running:
                    self._start_pipeline(pipeline)

    def rescue(self, model: str, digest: str) -> None:
        """``digest`` crashes again and again: :meth:`run` goes back to the version before it, durably. Returns at once."""
        self._crashing[model] = digest

    def _rescue_due(self) -> None:
        """Take back what crashes again and again, as soon as no update is under way: one of another model has to end first."""
        p = self._p
        for model, digest in list(self._crashing.items()):
            if p.updater.under_way() is not None:
                record = p.updater.record()
                if record.command is not None and record.command.model == model and record.state not in RESTING:
                    del self._crashing[model]  # the update that brought it watches it, and rolls back by itself
                continue
            del self._crashing[model]
            try:
                self._take_back(model, digest)
            except EdgeError as error:
                self._event("update_failed", "error", f"{model}: cannot go back to the version before: {error}", model=model)

    def _take_back(self, model: str, digest: str) -> None:
        store, previous = self._p.store, self._p.store.previous(model)
        reason = f"{model} crashes again and again"
        self._event("crash_loop", "error", reason, model=model, digest=digest, previous=previous)
        if not previous or store.active(model) != digest:
            return
        try:
            store.quarantine(digest, reason)
        except StoreError as error:  # a full disk must not keep a bad model serving
            self._event("update_failed", "error", f"{model}: the quarantine cannot be written: {error}", model=model, digest=digest)
        command = UpdateCommand(f"rescue-{digest[:12]}", model, store.manifest(previous).version, source="store", digest=previous)
        for refusal in self._p.updater.submit(command):
            self._event("update_refused", "error", f"{model}: {refusal}")

    def settle(self, command: UpdateCommand, status: str, reason: str, data: dict[str, object]) -> None:
        """An update ended: tell whoever asked, and the fleet what is served now."""
        self.start_pipelines()
        if not self._p.results.settle(command.command_id, Settled(status, reason, data)):
            self._p.desk.finish(command.command_id, status, reason, data)
            self._drop_upload(command)
        self._p.publish_status()

    def _tidy_up(self) -> None:
        """Commands and uploads of the last run that no update goes on with."""
        under_way = self._p.updater.under_way()
        self._p.desk.recover({under_way.command_id} if under_way is not None else ())
        for upload in self._p.uploads.iterdir():
            if under_way is None or not under_way.path.startswith(str(upload)):
                shutil.rmtree(upload, ignore_errors=True)

    def _drop_upload(self, command: UpdateCommand) -> None:
        """Nobody waits for it: it was taken in before the agent started anew, and whoever brought it cannot remove it."""
        folder = Path(command.path).parent
        if command.source == "file" and folder.parent == self._p.uploads:
            shutil.rmtree(folder, ignore_errors=True)

    def _start_api(self) -> None:
        """An address that is taken keeps nobody from the rest of the device."""
        try:
            self._p.api.start()
        except EdgeError as error:
            self._event("api_failed", "error", f"the local API cannot be opened: {error}")

    def _start_pipeline(self, pipeline: PipelineConfig) -> None:
        manifests = {version.model: version.manifest for version in self._p.engine.versions()}
        for key, what in stage_problems(pipeline, manifests):
            self._event("stage_misfit", "warning", f"{pipeline.name}: {key}: {what}", pipeline=pipeline.name)
        try:
            if reason := self._p.engine.open_pipeline(pipeline):
                self._event("pipeline_waiting", "warning", f"{pipeline.name} does not run yet: {reason}", pipeline=pipeline.name)
        except EdgeError as error:
            self._event("pipeline_failed", "error", f"{pipeline.name}: {error}", pipeline=pipeline.name)

    def _status_line(self, stalled_s: float) -> str:
        models = ", ".join(f"{m.name}@{m.version} {m.state}" for m in self._p.engine.models()) or "no model"
        stalled = f"; no progress for {stalled_s:.0f} s" if stalled_s >= 2 else ""
        return f"{models}; {self._p.engine.progress()} windows{stalled}"

    def _event(self, kind: str, level: str, message: str, **data: object) -> None:
        self._p.events.report(Event(kind, level, message, self._p.clock.wall_ns(), data))
