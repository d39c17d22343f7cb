"""What a configuration may say of sources and sinks, and how every mistake is named."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from edge_agent.sinks.options import SINK_KINDS, check_sink
from edge_agent.sources.options import SOURCE_KINDS, check_source

GOOD: list[tuple[str, dict[str, Any]]] = [
    ("replay", {"path": "a.npz"}),
    ("replay", {"path": "a.csv", "rate_hz": 12.5, "loop": True, "limit": 10}),
    ("serial", {"port": "/dev/ttyUSB0"}),
    ("serial", {"port": "/dev/ttyUSB0", "baud_rate": 9600, "framing": "json", "fields": ["a", "b"], "max_line_bytes": 256}),
    ("mqtt", {"topic": "sensors/+/a"}),
    ("mqtt", {"topic": "a", "framing": "csv", "fields": ["a"], "max_payload_bytes": 1024}),
]


@pytest.mark.parametrize(("kind", "options"), GOOD)
def test_good_options_have_no_problems(kind: str, options: dict[str, Any]) -> None:
    assert check_source(kind, options, "pipelines[0].source") == []


@pytest.mark.parametrize(
    ("kind", "options", "where", "what"),
    [
        ("radar", {}, "kind", "'radar' is not one of replay, serial, mqtt, synthetic"),
        ("replay", {}, "path", "is missing"),
        ("replay", {"path": "a.npz", "rate": 5}, "rate", "did you mean rate_hz?"),
        ("replay", {"path": "a.npz", "zzz": 5}, "zzz", "is not known; replay has path, rate_hz, loop, limit, block"),
        ("replay", {"path": "a.pickle"}, "path", "must end with .npz, .csv, .jsonl, .wav"),
        ("replay", {"path": ""}, "path", "must be text"),
        ("replay", {"path": "a\0.npz"}, "path", "must be text"),
        ("replay", {"path": "a.npz", "rate_hz": -1}, "rate_hz", "must be a number, 0 to"),
        ("replay", {"path": "a.npz", "rate_hz": True}, "rate_hz", "must be a number"),
        ("replay", {"path": "a.npz", "rate_hz": float("nan")}, "rate_hz", "must be a number"),
        ("replay", {"path": "a.npz", "loop": "yes"}, "loop", "must be true or false"),
        ("replay", {"path": "a.npz", "limit": 1.5}, "limit", "must be a whole number"),
        ("serial", {"port": 3}, "port", "must be text"),
        ("serial", {"port": "p", "baud_rate": 1}, "baud_rate", "must be a whole number, 50 to"),
        ("serial", {"port": "p", "framing": "cobs"}, "framing", "must be one of csv, json"),
        ("serial", {"port": "p", "framing": ["csv"]}, "framing", "must be one of csv, json"),
        ("serial", {"port": "p", "fields": ["a", "a"]}, "fields", "different words"),
        ("serial", {"port": "p", "fields": "a"}, "fields", "different words"),
        ("mqtt", {"topic": "a", "max_payload_bytes": 0}, "max_payload_bytes", "must be a whole number"),
        ("mqtt", {"topic": "a/#/b"}, "topic", "wildcard"),
        ("mqtt", {"topic": "a+/b"}, "topic", "wildcard"),
    ],
)
def test_every_mistake_is_named_by_its_key(kind: str, options: dict[str, Any], where: str, what: str) -> None:
    problems = check_source(kind, options, "pipelines[0].source")
    assert [problem.where for problem in problems] == [f"pipelines[0].source.{where}"]
    assert what in problems[0].what


def test_all_mistakes_come_at_once() -> None:
    problems = check_source("serial", {"baud_rate": "fast", "pot": "x"}, "s")
    assert sorted(problem.where for problem in problems) == ["s.baud_rate", "s.port", "s.pot"]


@pytest.mark.parametrize(
    ("kind", "options", "problems"),
    [
        ("jsonl", {"path": "out.jsonl"}, []),
        ("jsonl", {"path": "out.jsonl", "rotate_mib": 0.5, "keep": 2}, []),
        ("mqtt", {}, []),
        ("mqtt", {"topic": "door"}, []),
        ("mqtt", {"topic": "a/b"}, ["s.topic"]),
        ("mqtt", {"topic": "+"}, ["s.topic"]),
        ("jsonl", {}, ["s.path"]),
        ("jsonl", {"path": "o", "keep": 0}, ["s.keep"]),
        ("jsonl", {"path": "o", "rotate_mib": "1"}, ["s.rotate_mib"]),
        ("stdout", {}, ["s.kind"]),
    ],
)
def test_sinks_likewise(kind: str, options: dict[str, Any], problems: list[str]) -> None:
    assert [problem.where for problem in check_sink(kind, options, "s")] == problems


def test_checking_loads_nothing_heavy() -> None:
    code = (
        "import sys; import edge_agent.sources.options, edge_agent.sinks.options\n"
        "print([name for name in ('numpy', 'serial', 'paho', 'asyncio') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_every_kind_has_a_module_that_opens_it() -> None:
    import importlib

    for folder, kinds, function in (("sources", SOURCE_KINDS, "open_source"), ("sinks", SINK_KINDS, "open_sink")):
        for kind in kinds:
            assert callable(getattr(importlib.import_module(f"edge_agent.{folder}.{kind}"), function))
