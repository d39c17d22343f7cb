"""Every message between a device and its fleet, as frozen values. Encoding is in ``codec``; topics are in ``topics``.

Each carries ``v``, the version of this vocabulary. A reader ignores keys it does not know and refuses a ``v`` it does not know.
The JSON Schemas beside this file (``schemas/``) say the same to programs in other languages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_agent.values import Box, StageVerdict

VERSION = 1

COMMAND_KINDS = ("deploy", "rollback", "models", "ping")
RESULT_STATUSES = ("accepted", "done", "refused", "failed", "expired")
FINAL_STATUSES = ("done", "refused", "failed", "expired")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One served model in a status message."""

    name: str
    version: str
    digest: str
    state: str
    update: str = "IDLE"


@dataclass(frozen=True, slots=True)
class StatusMessage:
    """Retained birth certificate; the last will is the same with ``state`` ``offline`` and no models.

    ``t`` is RFC 3339 wall time, ``boot`` a random word that changes at every agent start.
    """

    device: str
    state: str
    t: str = ""
    boot: str = ""
    agent_version: str = ""
    profile: str = ""
    arch: str = ""
    runtimes: Mapping[str, str] = field(default_factory=dict)
    models: tuple[ModelEntry, ...] = ()
    pipelines: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    v: int = VERSION


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Percentiles of one histogram over the interval, in microseconds."""

    count: int
    p50_us: float
    p95_us: float
    p99_us: float
    max_us: float


@dataclass(frozen=True, slots=True)
class PipelineMetrics:
    """One pipeline over the interval; counters are totals since the pipeline started."""

    name: str
    model: str
    version: str
    rate_hz: float
    produced: int
    processed: int
    dropped: int
    failed: int
    in_flight: int
    replayed: int
    windows: int
    latency: Mapping[str, LatencySummary] = field(default_factory=dict)
    accuracy: float | None = None
    restarts: int = 0
    state: str = "running"


@dataclass(frozen=True, slots=True)
class ModelMetrics:
    """One model worker; counters are totals since the agent started."""

    name: str
    version: str
    state: str
    requests: int
    errors: int
    restarts: int
    rss_mib: float | None = None
    pss_mib: float | None = None
    latency: Mapping[str, LatencySummary] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProcessMetrics:
    """One process of the agent. ``role``: control, zygote, worker:NAME@VERSION, pipeline:NAME, updater."""

    role: str
    pid: int
    rss_mib: float | None
    pss_mib: float | None
    cpu_percent: float | None


@dataclass(frozen=True, slots=True)
class BoardMetrics:
    """The whole board. ``None`` where the board has no such sensor."""

    cpu_percent: float | None = None
    ram_total_mib: float | None = None
    ram_available_mib: float | None = None
    temperature_c: float | None = None
    throttled: bool | None = None
    throttle_reasons: tuple[str, ...] = ()
    power_mode: str | None = None
    disk_free_mib: float | None = None
    disk_total_mib: float | None = None
    uptime_s: float | None = None


@dataclass(frozen=True, slots=True)
class MetricsMessage:
    """Sent every telemetry interval; ``seq`` counts up so that a reader sees what it missed."""

    device: str
    t: str
    seq: int
    interval_s: float
    board: BoardMetrics
    pipelines: tuple[PipelineMetrics, ...] = ()
    models: tuple[ModelMetrics, ...] = ()
    processes: tuple[ProcessMetrics, ...] = ()
    outbox_queued: int = 0
    outbox_dropped: int = 0
    v: int = VERSION


@dataclass(frozen=True, slots=True)
class EventMessage:
    """Something that happened once. ``kind`` words are listed in docs/mqtt.md."""

    device: str
    t: str
    kind: str
    level: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)
    v: int = VERSION


@dataclass(frozen=True, slots=True)
class CommandMessage:
    """An order to one device. The same ``id`` twice is one order. ``expires`` is RFC 3339; empty never expires.

    ``args`` by kind: deploy {model, version, digest?}; rollback {model}; models {}; ping {}.
    """

    id: str
    kind: str
    args: Mapping[str, Any] = field(default_factory=dict)
    expires: str = ""
    v: int = VERSION


@dataclass(frozen=True, slots=True)
class ResultMessage:
    """What became of a command. Sent again until an :class:`AckMessage` with its ``id`` and ``status`` arrives (final ones only)."""

    device: str
    id: str
    kind: str
    status: str
    t: str
    reason: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    v: int = VERSION


@dataclass(frozen=True, slots=True)
class AckMessage:
    """The fleet has the final result of command ``id``."""

    id: str
    v: int = VERSION


@dataclass(frozen=True, slots=True)
class PredictionMessage:
    """One prediction of one pipeline. ``t`` is wall time of the window's last sample."""

    device: str
    pipeline: str
    model: str
    version: str
    window_seq: int
    first_seq: int
    last_seq: int
    t: str
    label: str | None
    score: float | None
    scores: tuple[float | None, ...] = ()
    infer_us: float = 0.0
    total_us: float = 0.0
    boxes: tuple[Box, ...] = ()
    before: tuple[StageVerdict, ...] = ()
    v: int = VERSION


Message = StatusMessage | MetricsMessage | EventMessage | CommandMessage | ResultMessage | AckMessage | PredictionMessage
