"""From a TOML tree to an :class:`~edge_agent.config.AgentConfig`, with every problem named by key path.

Pure: it opens no file. Relative paths are taken from ``base``, the folder of the configuration file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_agent.addresses import bad_address, is_socket
from edge_agent.config import (
    AgentConfig,
    ApiConfig,
    DeviceConfig,
    EngineConfig,
    ModelConfig,
    MqttConfig,
    TelemetryConfig,
    UpdatesConfig,
)
from edge_agent.errors import ConfigError, Problem
from edge_agent.listening import check_listeners
from edge_agent.pipeline_reader import read_pipeline
from edge_agent.toml_section import Section
from edge_agent.written_files import check_written_files

LANES = ("isolated", "inline")
SWAPS = ("auto", "beside", "unload_first")


def parse(tree: Mapping[str, Any], *, base: Path, file: Path | None = None) -> AgentConfig:
    """The configuration in ``tree``, which was read from ``file``. Raises :class:`ConfigError` carrying every problem found."""
    problems: list[Problem] = []
    top = Section(tree, "", problems, base)
    config = AgentConfig(
        device=_device(top.section("device", required=True)),
        mqtt=_mqtt(top.section("mqtt")),
        updates=_updates(top.section("updates")),
        telemetry=_telemetry(top.section("telemetry")),
        engine=_engine(top.section("engine")),
        api=_api(top.section("api")),
        models=tuple(_model(s) for s in top.sections("models")),
        pipelines=tuple(read_pipeline(s) for s in top.sections("pipelines")),
    )
    top.done()
    _cross_check(config, problems)
    check_written_files(config, file, problems)
    check_listeners(config, problems)
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
        shadow_s=s.number("shadow_s", d.shadow_s, low=0, high=86_400),
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
        silent_s=s.number("silent_s", d.silent_s, low=2, high=3600),
        swap=s.choice("swap", d.swap, SWAPS),
        tune=s.flag("tune", d.tune),
    )
    s.done()
    return config


def _api(s: Section) -> ApiConfig:
    d = ApiConfig()
    config = ApiConfig(
        listen=s.words("listen"),
        grpc=s.text("grpc", d.grpc),
        token_file=s.path("token_file", None),
        queue=s.whole("queue", d.queue, low=1, high=65_536),
        max_body_mib=s.whole("max_body_mib", d.max_body_mib, low=1, high=4096),
        load=s.flag("load", d.load),
    )
    for i, where in enumerate(config.listen):
        if problem := bad_address(where):
            s.bad(f"listen[{i}]", problem)
    if config.grpc and (problem := bad_address(config.grpc)):
        s.bad("grpc", problem)
    open_to_network = [where for where in (*config.listen, config.grpc) if where and not is_socket(where)]
    if open_to_network and config.token_file is None:
        s.bad("token_file", f"is missing: {open_to_network[0]} can be reached by every program, so requests there need a token")
    s.done()
    return config


def _model(s: Section) -> ModelConfig:
    d = ModelConfig("")
    config = ModelConfig(
        name=s.name("name", required=True),
        bundle=s.path("bundle", None),
        lane=s.choice("lane", d.lane, LANES),
        workers=s.whole("workers", d.workers, low=1, high=64),
        mapped=s.flag("mapped", d.mapped),
    )
    if config.lane == "inline" and config.workers > 1:
        s.bad("workers", 'does nothing with lane = "inline": there the model runs in the processes that use it')
    s.done()
    return config


def _cross_check(config: AgentConfig, problems: list[Problem]) -> None:
    _unique([m.name for m in config.models], "models", problems)
    _unique([p.name for p in config.pipelines], "pipelines", problems)
    known = {m.name for m in config.models}
    for i, pipeline in enumerate(config.pipelines):
        for j, model in enumerate(pipeline.models):
            if model and model not in known:
                names = ", ".join(sorted(known)) or "none is declared"
                where = f"pipelines[{i}].then[{j - 1}].model" if j else f"pipelines[{i}].model"
                problems.append(Problem(where, f"{model!r} is not under [[models]] ({names})"))
        uses_mqtt = pipeline.source.kind == "mqtt" or any(sink.kind == "mqtt" for sink in pipeline.sinks)
        if uses_mqtt and not config.mqtt.host:
            problems.append(Problem("mqtt.host", f"is missing, but pipeline {pipeline.name!r} uses mqtt"))


def _unique(names: Sequence[str], where: str, problems: list[Problem]) -> None:
    for i, name in enumerate(names):
        if name and name in names[:i]:
            problems.append(Problem(f"{where}[{i}].name", f"{name!r} is taken already"))
