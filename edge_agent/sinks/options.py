"""Which options each kind of sink takes, checked without opening anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_agent.errors import Problem
from edge_agent.option_check import Option, check_options, number, text, whole

_SINKS: Mapping[str, Mapping[str, Option]] = {
    "jsonl": {
        "path": Option(text(), required=True),
        "rotate_mib": Option(number(low=0.0, high=1e6)),
        "keep": Option(whole(low=1, high=1000)),
    },
    "mqtt": {
        "topic": Option(text(pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")),
    },
}

SINK_KINDS = tuple(_SINKS)


def check_sink(kind: str, options: Mapping[str, Any], where: str) -> list[Problem]:
    """Everything wrong with the options of a sink of ``kind``; ``where`` is its key path in the configuration."""
    return check_options(_SINKS, kind, options, where)
