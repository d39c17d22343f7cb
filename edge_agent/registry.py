"""Which module holds a source or sink of a given kind. An explicit table; nothing is imported until it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from edge_agent.errors import ConfigError, Problem

SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "replay": "edge_agent.sources.replay",
        "serial": "edge_agent.sources.serial",
        "mqtt": "edge_agent.sources.mqtt",
        "synthetic": "edge_agent.sources.synthetic",
        "iio": "edge_agent.sources.iio",
        "camera": "edge_agent.sources.camera",
        "audio": "edge_agent.sources.audio",
        "exec": "edge_agent.sources.exec",
        "socket": "edge_agent.sources.socket",
    }
)

SINKS: Mapping[str, str] = MappingProxyType(
    {
        "jsonl": "edge_agent.sinks.jsonl",
        "mqtt": "edge_agent.sinks.mqtt",
        "serial": "edge_agent.sinks.serial",
        "gpio": "edge_agent.sinks.gpio",
        "exec": "edge_agent.sinks.exec",
        "webhook": "edge_agent.sinks.webhook",
        "socket": "edge_agent.sinks.socket",
    }
)


def source_opener(kind: str) -> Callable[..., Any]:
    """``open_source(name, options, inbox) -> Source`` of ``kind``. Raises ConfigError for an unknown one."""
    opener: Callable[..., Any] = import_module(_module(SOURCES, kind, "source.kind")).open_source
    return opener


def sink_opener(kind: str) -> Callable[..., Any]:
    """``open_sink(name, options, publish) -> Sink`` of ``kind``. Raises ConfigError for an unknown one."""
    opener: Callable[..., Any] = import_module(_module(SINKS, kind, "sinks.kind")).open_sink
    return opener


def _module(table: Mapping[str, str], kind: str, where: str) -> str:
    if kind not in table:
        raise ConfigError([Problem(where, f"{kind!r} is not one of {', '.join(table)}")])
    return table[kind]
