"""What a device can be told to do, and what becomes of it: one function per kind of command.

The same functions answer MQTT commands and calls on the local socket.
"""

from __future__ import annotations

import dataclasses
import os
import queue
import shutil
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from edge_agent import __version__
from edge_agent.agent import Parts
from edge_agent.bundle.archive import read_manifest
from edge_agent.bundle.manifest import Manifest
from edge_agent.clock import from_iso_utc
from edge_agent.config import PipelineConfig
from edge_agent.errors import CommandError, EdgeError, StoreFull
from edge_agent.protocol.messages import CommandMessage
from edge_agent.protocol.topics import valid_word
from edge_agent.serving.local_server import Progress
from edge_agent.update.machine import UpdateCommand
from edge_agent.update.store import FileStore
from edge_agent.values import Event, PipelineCounters, PipelineStatus

COPY_BYTES = 1 << 20


class Orders:
    """Carries out commands. Methods named ``on_*`` answer MQTT, ``call_*`` the local socket."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts

    # --- over MQTT: (status, reason, data), or None when the result comes later ---

    def on_ping(self, command: CommandMessage) -> tuple[str, str, Mapping[str, Any]] | None:
        return "done", "", {"agent_version": __version__}

    def on_models(self, command: CommandMessage) -> tuple[str, str, Mapping[str, Any]] | None:
        return "done", "", {"models": self.models()}

    def on_deploy(self, command: CommandMessage) -> tuple[str, str, Mapping[str, Any]] | None:
        model, version = _word(command.args, "model"), _word(command.args, "version")
        deadline_ns = from_iso_utc(command.expires) if command.expires else 0
        digest = str(command.args.get("digest", ""))
        return self._submit(UpdateCommand(command.id, model, version, digest=digest, deadline_ns=deadline_ns))

    def on_rollback(self, command: CommandMessage) -> tuple[str, str, Mapping[str, Any]] | None:
        return self._submit(self._rollback_command(command.id, _word(command.args, "model")))

    # --- over the local socket ---

    def call_status(self, request: Mapping[str, Any], fd: int | None, progress: Progress) -> Any:
        p = self._p
        metrics = p.reporter.latest()
        return {
            "device": p.config.device.id,
            "profile": p.facts.profile,
            "agent_version": __version__,
            "pid": os.getpid(),
            "broker": None if p.transport is None else {"host": p.config.mqtt.host, "connected": p.transport.connected()},
            "models": self.models(),
            "pipelines": [_pipeline_json(s) for s in self._pipelines()],
            "update": dataclasses.asdict(p.updater.record()),
            "outbox": {"queued": p.outbox.queued(), "dropped": p.outbox.dropped()},
            "metrics": None if metrics is None else dataclasses.asdict(metrics),
            "processes": [{"role": role, "pid": pid} for role, pid in (("control", os.getpid()), *p.engine.processes())],
        }

    def call_models(self, request: Mapping[str, Any], fd: int | None, progress: Progress) -> Any:
        return self.models()

    def call_install(self, request: Mapping[str, Any], fd: int | None, progress: Progress) -> Any:
        if fd is None:
            raise CommandError("install: the bundle must be attached as an open file")
        name = str(request.get("name", ""))
        folder = self._p.uploads / uuid.uuid4().hex
        upload = folder / (name if valid_word(name) else "bundle.edgemodel")  # errors name the caller's file
        try:
            folder.mkdir()
            _copy_in(fd, upload, self._p.config.updates.max_bundle_mib << 20)
            manifest = read_manifest(upload)
            command = UpdateCommand(f"local-{uuid.uuid4().hex[:12]}", manifest.name, manifest.version, source="file", path=str(upload))
            return self._carry_out(command, progress)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def call_rollback(self, request: Mapping[str, Any], fd: int | None, progress: Progress) -> Any:
        command = self._rollback_command(f"local-{uuid.uuid4().hex[:12]}", _word(request, "model"))
        return self._carry_out(command, progress)

    def call_cancel(self, request: Mapping[str, Any], fd: int | None, progress: Progress) -> Any:
        command = self._p.updater.under_way()
        if command is None or not self._p.updater.cancel(command.command_id):
            raise CommandError("there is no update under way that could be taken back")
        return {"id": command.command_id, "model": command.model, "version": command.version}

    def _pipelines(self) -> list[PipelineStatus]:
        """Every configured pipeline, those that cannot run too."""
        there = {status.name: status for status in self._p.engine.pipelines()}
        serving = {m.name for m in self._p.engine.models()}
        return [there.get(pipeline.name) or _not_started(pipeline, serving) for pipeline in self._p.config.pipelines]

    def models(self) -> list[dict[str, Any]]:
        """Every configured or installed model: what serves, what it would go back to."""
        p = self._p
        serving = {m.name: m for m in p.engine.models()}
        names = sorted({m.name for m in p.config.models} | set(p.store.models()) | set(serving))
        return [self._model_json(name, serving.get(name)) for name in names]

    def _model_json(self, name: str, status: Any) -> dict[str, Any]:
        store = self._p.store
        active, previous = store.active(name), store.previous(name)
        entry: dict[str, Any] = {"name": name, "version": "", "state": "missing", "digest": active}
        manifest = _stored(store, active)
        if manifest is not None:
            entry |= {"version": manifest.version, "runtime": manifest.runtime.name, "folder": str(store.folder(active))}
            entry["model_file"] = str(store.folder(active) / manifest.model_file.path)
        if status is not None:
            entry |= {k: v for k, v in dataclasses.asdict(status).items() if k != "name"}
        before = _stored(store, previous)
        entry["previous"] = {"digest": previous, "version": before.version} if before is not None else None
        return entry

    def _rollback_command(self, command_id: str, model: str) -> UpdateCommand:
        previous = self._p.store.previous(model)
        if not previous:
            raise CommandError(f"{model}: there is no earlier version on this device to go back to")
        version = self._p.store.manifest(previous).version
        return UpdateCommand(command_id, model, version, source="store", digest=previous)

    def _submit(self, command: UpdateCommand) -> tuple[str, str, Mapping[str, Any]] | None:
        if command.model not in {m.name for m in self._p.config.models}:
            known = ", ".join(m.name for m in self._p.config.models) or "none"
            return "refused", f"{command.model}: this device has no such model under [[models]] (has: {known})", {}
        reasons = self._p.updater.submit(command)
        return ("refused", "; ".join(reasons), {}) if reasons else None

    def _carry_out(self, command: UpdateCommand, progress: Progress) -> Any:
        waiter = self._p.results.expect(command.command_id)

        def tell(event: Event) -> None:
            if event.data.get("command_id") == command.command_id:
                try:
                    progress({"kind": event.kind, "message": event.message, **event.data})
                except OSError:
                    pass  # the caller hung up; the update goes on

        self._p.events.subscribe(tell)
        try:
            refused = self._submit(command)
            if refused is not None:
                return {"status": refused[0], "reason": refused[1], "data": {}}
            settled = waiter.get(timeout=self._p.config.updates.fetch_timeout_s + self._p.config.updates.watch_s + 300)
            return {"status": settled.status, "reason": settled.reason, "data": dict(settled.data)}
        except queue.Empty:
            raise CommandError(f"{command.model}: the update has not ended in time; see 'edge-agent status'") from None
        finally:
            self._p.events.unsubscribe(tell)
            self._p.results.forget(command.command_id)


def _not_started(pipeline: PipelineConfig, serving: Collection[str]) -> PipelineStatus:
    lacking = next((model for model in pipeline.models if model not in serving), "")
    why = f"it waits for model {lacking}, of which no version is installed" if lacking else "it could not be started; the log says why"
    state = "waiting" if lacking else "failed"
    return PipelineStatus(pipeline.name, pipeline.model, "", state, None, 0, PipelineCounters(), {}, why)


def _stored(store: FileStore, digest: str) -> Manifest | None:
    """The manifest of ``digest`` as far as the disk still has it: a damaged version must not hide what the device does."""
    try:
        return store.manifest(digest) if digest else None
    except EdgeError:
        return None


def _word(args: Mapping[str, Any], key: str) -> str:
    value = args.get(key)
    if not isinstance(value, str) or not valid_word(value.replace("+", "-")):
        raise CommandError(f"args.{key}: must be a name of letters, digits, '.', '_' or '-', not {value!r}")
    return value


def _copy_in(fd: int, target: Path, limit_bytes: int) -> None:
    copied = 0
    try:
        with target.open("wb") as out:
            while chunk := os.pread(fd, COPY_BYTES, copied):
                copied += len(chunk)
                if copied > limit_bytes:
                    raise CommandError(f"install: the bundle is larger than updates.max_bundle_mib ({limit_bytes >> 20} MiB)")
                out.write(chunk)
    except OSError as error:
        raise StoreFull(f"install: cannot take the bundle in: {error.strerror}") from None
    if copied == 0:
        raise EdgeError("install: the bundle is empty")


def _pipeline_json(status: Any) -> dict[str, Any]:
    tree = dataclasses.asdict(status)
    tree.pop("latency")
    return tree
