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
    """Where signed bundles come from, and how long a new one is watched before it is kept."""

    repository: str = ""
    trusted_root: Path | None = None
    watch_s: float = 30.0
    hooks_dir: Path | None = None
    max_bundle_mib: int = 512
    fetch_timeout_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    interval_s: float = 10.0


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Limits of the processes that run models."""

    deadline_ms: float = 5000.0
    crash_limit: int = 5
    crash_window_s: float = 300.0
    memory_limit_mib: int = 0
    threads: int = 1


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A model the device is born with: ``bundle`` is installed when the store has none of that name."""

    name: str
    bundle: Path | None = None


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """``kind``: replay, serial, mqtt. ``options`` are that kind's own keys, already checked."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SinkConfig:
    """``kind``: jsonl, mqtt."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """One sensor to one model. ``length`` and ``hop`` are in samples; ``queue`` is how many samples may wait."""

    name: str
    model: str
    source: SourceConfig
    sinks: tuple[SinkConfig, ...]
    length: int = 1
    hop: int = 1
    queue: int = 1024


@dataclass(frozen=True, slots=True)
class AgentConfig:
    device: DeviceConfig
    mqtt: MqttConfig = field(default_factory=MqttConfig)
    updates: UpdatesConfig = field(default_factory=UpdatesConfig)
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    models: tuple[ModelConfig, ...] = ()
    pipelines: tuple[PipelineConfig, ...] = ()
