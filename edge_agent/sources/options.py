"""Which options each kind of source takes, checked without opening anything or importing what the source needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_agent.errors import Problem
from edge_agent.option_check import Option, check_options, flag, number, one_of, text, texts, topic_filter, whole

REPLAY_EXTENSIONS = (".npz", ".csv", ".jsonl")

_SOURCES: Mapping[str, Mapping[str, Option]] = {
    "replay": {
        "path": Option(text(endings=REPLAY_EXTENSIONS), required=True),
        "rate_hz": Option(number(low=0.0, high=1e6)),
        "loop": Option(flag()),
        "limit": Option(whole(low=0)),
    },
    "serial": {
        "port": Option(text(), required=True),
        "baud_rate": Option(whole(low=50, high=4_000_000)),
        "framing": Option(one_of("csv", "json")),
        "fields": Option(texts()),
        "max_line_bytes": Option(whole(low=16, high=1 << 20)),
    },
    "mqtt": {
        "topic": Option(topic_filter(), required=True),
        "framing": Option(one_of("auto", "csv", "json")),
        "fields": Option(texts()),
        "max_payload_bytes": Option(whole(low=16, high=64 << 20)),
    },
}

SOURCE_KINDS = tuple(_SOURCES)


def check_source(kind: str, options: Mapping[str, Any], where: str) -> list[Problem]:
    """Everything wrong with the options of a source of ``kind``; ``where`` is its key path in the configuration."""
    return check_options(_SOURCES, kind, options, where)
