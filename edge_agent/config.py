"""The agent's configuration: what ``agent.toml`` may say, checked key by key.

``parse`` takes the tree that a TOML reader gave and returns an :class:`AgentConfig`, or raises
:class:`~edge_agent.errors.ConfigError` with every problem by key path. It opens no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """Who this device is and where it may write. ``profile`` is a board name or ``auto``."""

    id: str
    profile: str = "auto"
    state_dir: Path = Path("/var/lib/edge-agent")
    runtime_dir: Path = Path("/run/edge-agent")
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MqttConfig:
    """The broker. Without ``host`` the agent runs alone."""

    host: str = ""
    port: int = 1883
    username: str = ""
    password_file: Path | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    keepalive_s: int = 30
    prefix: str = "edge/v1"
    outbox_mib: int = 16


@dataclass(frozen=True, slots=True)
class UpdatesConfig:
    """Where signed bundles come from, and how long a new one is watched before it is kept.

    ``shadow_s``: how long a candidate that passed its trial answers beside the serving version, unseen, before it may serve; 0: not at all.
    """

    repository: str = ""
    trusted_root: Path | None = None
    watch_s: float = 30.0
    hooks_dir: Path | None = None
    max_bundle_mib: int = 512
    fetch_timeout_s: float = 3600.0
    shadow_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    interval_s: float = 10.0


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Limits of the processes that run models.

    ``deadline_ms`` is when whoever asked has an answer or an error; a worker that has not answered at half of it counts as hung, and what
    it was asked is asked again of another. A pipeline that has said nothing for ``silent_s`` is started again. ``swap``: ``beside`` (a
    candidate only where two copies fit), ``unload_first`` (the serving version makes room), ``auto`` (the one where memory allows, else
    the other). ``tune`` lets the first start of a version measure which session options suit this board.
    """

    deadline_ms: float = 10_000.0
    crash_limit: int = 5
    crash_window_s: float = 300.0
    memory_limit_mib: int = 0
    threads: int = 1
    silent_s: float = 10.0
    swap: str = "auto"
    tune: bool = False

    @property
    def attempt_ms(self) -> float:
        """How long one worker may take; what is left of the deadline is for a second one."""
        return self.deadline_ms / 2


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A model of this device: ``bundle`` is installed when the store has none of that name.

    ``lane`` is ``isolated`` (``workers`` processes of its own) or ``inline`` (in the process of each pipeline that uses it: quicker, for
    tiny models that are trusted). ``mapped``: weights that lie beside the model stay mapped from their file; no worker has a copy.
    """

    name: str
    bundle: Path | None = None
    lane: str = "isolated"
    workers: int = 1
    mapped: bool = False


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """``kind``: a word of docs/sources.md. ``options`` are that kind's own keys, already checked."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SinkConfig:
    """``kind``: a word of docs/sinks.md."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageConfig:
    """One more model in a pipeline, asked after the one before it.

    ``feed``: ``output`` (the scores of the stage before), ``window`` (the same window) or ``box`` (the part of the frame in each box that
    the stage before found). ``when``: only for these labels; empty is always.
    """

    model: str
    feed: str = "output"
    when: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """One sensor to one model, or to several in turn. ``length`` and ``hop`` are in samples; ``queue`` is how many samples may wait.

    With ``length_s`` a window is the last that many seconds, every ``hop_s``, brought to ``length`` rows on an even grid. ``policy`` says
    what happens when the model is slower than the source: ``block``, ``drop_oldest``, ``latest_only``.
    """

    name: str
    model: str
    source: SourceConfig
    sinks: tuple[SinkConfig, ...]
    length: int = 1
    hop: int = 1
    queue: int = 1024
    policy: str = "drop_oldest"
    length_s: float = 0.0
    hop_s: float = 0.0
    on_gap: str = "hold"
    then: tuple[StageConfig, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """Every model it asks, in order."""
        return (self.model, *(stage.model for stage in self.then))


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """The local HTTP API; off without ``listen``: ``unix`` (a socket in the runtime folder), a path, or ``127.0.0.1:8500``.

    Over TCP every request carries the token in ``token_file``. ``load`` allows clients to load and unload models.
    """

    listen: tuple[str, ...] = ()
    grpc: str = ""
    token_file: Path | None = None
    queue: int = 64
    max_body_mib: int = 64
    load: bool = False


@dataclass(frozen=True, slots=True)
class AgentConfig:
    device: DeviceConfig
    mqtt: MqttConfig = field(default_factory=MqttConfig)
    updates: UpdatesConfig = field(default_factory=UpdatesConfig)
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    api: ApiConfig = field(default_factory=ApiConfig)
    models: tuple[ModelConfig, ...] = ()
    pipelines: tuple[PipelineConfig, ...] = ()
