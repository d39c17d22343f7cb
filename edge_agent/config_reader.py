"""From a TOML tree to an :class:`~edge_agent.config.AgentConfig`, with every problem named by key path.

Pure: it opens no file. Relative paths are taken from ``base``, the folder of the configuration file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os.path import normpath
from pathlib import Path
from typing import Any

from edge_agent.config import (
    AgentConfig,
    DeviceConfig,
    EngineConfig,
    ModelConfig,
    MqttConfig,
    PipelineConfig,
    SinkConfig,
    SourceConfig,
    TelemetryConfig,
    UpdatesConfig,
)
from edge_agent.errors import ConfigError, Problem
from edge_agent.places import Places
from edge_agent.sinks.options import check_sink
from edge_agent.sources.options import check_source
from edge_agent.toml_section import Section


def parse(tree: Mapping[str, Any], *, base: Path) -> AgentConfig:
    """The configuration in ``tree``. Raises :class:`ConfigError` carrying every problem found."""
    problems: list[Problem] = []
    top = Section(tree, "", problems, base)
    config = AgentConfig(
        device=_device(top.section("device", required=True)),
        mqtt=_mqtt(top.section("mqtt")),
        updates=_updates(top.section("updates")),
        telemetry=_telemetry(top.section("telemetry")),
        engine=_engine(top.section("engine")),
        models=tuple(_model(s) for s in top.sections("models")),
        pipelines=tuple(_pipeline(s) for s in top.sections("pipelines")),
    )
    top.done()
    _cross_check(config, problems)
    if problems:
        raise ConfigError(problems)
    return config


def _device(s: Section) -> DeviceConfig:
    defaults = DeviceConfig(id="device")
    config = DeviceConfig(
        id=s.name("id", required=True),
        profile=s.text("profile", defaults.profile),
        state_dir=s.path("state_dir", defaults.state_dir) or defaults.state_dir,
        runtime_dir=s.path("runtime_dir", defaults.runtime_dir) or defaults.runtime_dir,
        labels=s.labels("labels"),
    )
    s.done()
    return config


def _mqtt(s: Section) -> MqttConfig:
    d = MqttConfig()
    config = MqttConfig(
        host=s.text("host", d.host),
        port=s.whole("port", d.port, low=1, high=65535),
        username=s.text("username", d.username),
        password_file=s.path("password_file", None),
        tls_ca=s.path("tls_ca", None),
        tls_cert=s.path("tls_cert", None),
        tls_key=s.path("tls_key", None),
        keepalive_s=s.whole("keepalive_s", d.keepalive_s, low=2, high=3600),
        prefix=s.text("prefix", d.prefix),
        outbox_mib=s.whole("outbox_mib", d.outbox_mib, low=1, high=4096),
    )
    if not config.prefix or config.prefix.startswith("/") or config.prefix.endswith("/") or set(config.prefix) & set("+#\0 "):
        s.bad("prefix", "must be topic words joined by '/', without '+', '#' or spaces")
    if config.tls_key and not config.tls_cert:
        s.bad("tls_key", "needs tls_cert beside it")
    if config.tls_cert and not config.tls_ca:
        s.bad("tls_cert", "needs tls_ca beside it: without that the connection would not be encrypted")
    if config.username and config.password_file is None:
        s.bad("username", "needs password_file: a file that holds the password")
    s.done()
    return config


def _updates(s: Section) -> UpdatesConfig:
    d = UpdatesConfig()
    config = UpdatesConfig(
        repository=s.text("repository", d.repository).rstrip("/"),
        trusted_root=s.path("trusted_root", None),
        watch_s=s.number("watch_s", d.watch_s, low=0, high=86_400),
        hooks_dir=s.path("hooks_dir", None),
        max_bundle_mib=s.whole("max_bundle_mib", d.max_bundle_mib, low=1, high=65_536),
        fetch_timeout_s=s.number("fetch_timeout_s", d.fetch_timeout_s, low=1, high=7 * 86_400),
    )
    if config.repository and not config.repository.startswith(("http://", "https://")):
        s.bad("repository", f"{config.repository!r} must start with http:// or https://")
    if config.repository and config.trusted_root is None:
        s.bad("trusted_root", "is missing: copy root.json from the repository to the device and name it here")
    s.done()
    return config


def _telemetry(s: Section) -> TelemetryConfig:
    config = TelemetryConfig(interval_s=s.number("interval_s", TelemetryConfig().interval_s, low=0.2, high=86_400))
    s.done()
    return config


def _engine(s: Section) -> EngineConfig:
    d = EngineConfig()
    config = EngineConfig(
        deadline_ms=s.number("deadline_ms", d.deadline_ms, low=1, high=3_600_000),
        crash_limit=s.whole("crash_limit", d.crash_limit, low=1, high=1000),
        crash_window_s=s.number("crash_window_s", d.crash_window_s, low=1, high=86_400),
        memory_limit_mib=s.whole("memory_limit_mib", d.memory_limit_mib, low=0, high=1 << 20),
        threads=s.whole("threads", d.threads, low=1, high=64),
    )
    s.done()
    return config


def _model(s: Section) -> ModelConfig:
    config = ModelConfig(name=s.name("name", required=True), bundle=s.path("bundle", None))
    s.done()
    return config


def _pipeline(s: Section) -> PipelineConfig:
    d = PipelineConfig("", "", SourceConfig(""), ())
    source = s.section("source", required=True)
    sinks = s.sections("sinks")
    config = PipelineConfig(
        name=s.name("name", required=True),
        model=s.name("model", required=True),
        source=SourceConfig(*_kind(source, check_source)),
        sinks=tuple(SinkConfig(*_kind(sink, check_sink)) for sink in sinks),
        length=s.whole("length", d.length, low=1, high=1 << 20),
        hop=s.whole("hop", d.hop, low=1, high=1 << 20),
        queue=s.whole("queue", d.queue, low=1, high=1 << 20),
    )
    if not sinks:
        s.bad("sinks", 'is missing: say where predictions go, e.g. [[pipelines.sinks]] kind = "mqtt"')
    s.done()
    return config


def _kind(s: Section, check: Any) -> tuple[str, dict[str, Any]]:
    kind = s.text("kind", "")
    options = s.rest()
    if "path" in options and isinstance(options["path"], str) and options["path"]:
        options["path"] = str(s.base / options["path"])
    if s.present:
        if not kind:
            s.bad("kind", "is missing")
        else:
            s.problems.extend(check(kind, options, s.where))
    return kind, options


def _cross_check(config: AgentConfig, problems: list[Problem]) -> None:
    _unique([m.name for m in config.models], "models", problems)
    _unique([p.name for p in config.pipelines], "pipelines", problems)
    _one_writer_per_file(config.pipelines, config.device.state_dir, problems)
    known = {m.name for m in config.models}
    for i, pipeline in enumerate(config.pipelines):
        if pipeline.model and pipeline.model not in known:
            names = ", ".join(sorted(known)) or "none is declared"
            problems.append(Problem(f"pipelines[{i}].model", f"{pipeline.model!r} is not under [[models]] ({names})"))
        uses_mqtt = pipeline.source.kind == "mqtt" or any(sink.kind == "mqtt" for sink in pipeline.sinks)
        if uses_mqtt and not config.mqtt.host:
            problems.append(Problem("mqtt.host", f"is missing, but pipeline {pipeline.name!r} uses mqtt"))


def _one_writer_per_file(pipelines: Sequence[PipelineConfig], state_dir: Path, problems: list[Problem]) -> None:
    """Two sinks on one file would rotate and mend it under each other's hands, and lose lines; the agent's own files are not theirs."""
    seen: set[str] = set()
    for i, pipeline in enumerate(pipelines):
        for j, sink in enumerate(pipeline.sinks):
            path = sink.options.get("path")
            if sink.kind != "jsonl" or not isinstance(path, str) or not path:
                continue
            if Places(state_dir).own(Path(normpath(path))):
                problems.append(Problem(f"pipelines[{i}].sinks[{j}].path", f"{path} is the agent's own; name another file"))
            if normpath(path) in seen:
                problems.append(Problem(f"pipelines[{i}].sinks[{j}].path", f"{path} is written by another sink already; name another file"))
            seen.add(normpath(path))


def _unique(names: Sequence[str], where: str, problems: list[Problem]) -> None:
    for i, name in enumerate(names):
        if name and name in names[:i]:
            problems.append(Problem(f"{where}[{i}].name", f"{name!r} is taken already"))
