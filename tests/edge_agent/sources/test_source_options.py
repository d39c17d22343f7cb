"""What a configuration may say of sources and sinks, and how every mistake is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib as tomli
else:
    import tomli

from edge_agent.sinks.options import SINK_KINDS, check_sink
from edge_agent.sources.options import _SOURCES, SOURCE_KINDS, check_source

GOOD: list[tuple[str, dict[str, Any]]] = [
    ("replay", {"path": "a.npz"}),
    ("replay", {"path": "a.csv", "rate_hz": 12.5, "loop": True, "limit": 10}),
    ("serial", {"port": "/dev/ttyUSB0"}),
    ("serial", {"port": "/dev/ttyUSB0", "baud_rate": 9600, "framing": "json", "fields": ["a", "b"], "max_line_bytes": 256}),
    ("mqtt", {"topic": "sensors/+/a"}),
    ("mqtt", {"topic": "a", "framing": "csv", "fields": ["a"], "max_payload_bytes": 1024}),
    ("replay", {"path": "a.WAV", "block": 320}),
    ("synthetic", {}),
    ("synthetic", {"rate_hz": 0, "shape": [480, 640, 3], "dtype": "uint8", "signal": "noise", "offset": 128, "seed": 7, "block": 4}),
    ("iio", {"device": 0}),
    ("iio", {"device": "lis3dh", "channels": ["accel_x"], "mode": "buffered", "rate_hz": 100, "buffer_length": 64, "watermark": 8}),
    ("camera", {"device": 0}),
    ("camera", {"device": "rtsp://door/1", "width": 640, "height": 480, "fps": 12.5, "silence_s": 3}),
    ("audio", {}),
    ("audio", {"device": "hw:1,0", "rate_hz": 48000, "channels": 2, "format": "S32_LE", "block": 480}),
    ("exec", {"command": ["/usr/bin/read-sensor", "--json"], "framing": "json", "fields": ["t"], "restart": False}),
    ("exec", {"command": ["cat"], "framing": "raw", "dtype": "int16", "shape": [2], "rate_hz": 100, "byte_order": "big"}),
    ("exec", {"command": ["cat", "cat", ""], "environment": {"TZ": "UTC"}}),
    ("socket", {"address": "unix:/run/sensor.sock", "listen": True}),
    ("socket", {"address": "sensor.lan:9000", "framing": "prefixed", "dtype": "float32", "max_message_bytes": 4096}),
    ("socket", {"address": "0.0.0.0:9000", "listen": True, "public": True}),
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
        ("synthetic", {"signal": "saw"}, "signal", "must be one of sine, square"),
        ("synthetic", {"shape": [2, 0]}, "shape", "must be a list of 1 to 8 whole sizes"),
        ("synthetic", {"shape": [1 << 20, 1 << 20]}, "shape", "must be a list of 1 to 8 whole sizes"),
        ("synthetic", {"shape": "2x2"}, "shape", "must be a list of 1 to 8 whole sizes"),
        ("synthetic", {"shape": [2], "channels": 2}, "channels", "keep one of them"),
        ("iio", {}, "device", "is missing"),
        ("iio", {"device": -1}, "device", "must be the name of an IIO device"),
        ("iio", {"device": True}, "device", "must be the name of an IIO device"),
        ("iio", {"device": 0, "rate_hz": 0}, "rate_hz", "must be a number, 0.001 to"),
        ("iio", {"device": 0, "watermark": 8}, "watermark", 'only for mode = "buffered"'),
        ("camera", {"device": ""}, "device", "must be the number of a camera"),
        ("camera", {"device": 1.5}, "device", "must be the number of a camera"),
        ("audio", {"format": "U8"}, "format", "must be one of S16_LE, S32_LE"),
        ("audio", {"rate_hz": 1}, "rate_hz", "must be a whole number, 2000 to"),
        ("exec", {}, "command", "is missing"),
        ("exec", {"command": "ls -l"}, "command", "must be a list of text, the program first"),
        ("exec", {"command": []}, "command", "must be a list of text"),
        ("exec", {"command": ["", "a"]}, "command", "must be a list of text"),
        ("exec", {"command": ["a", 1]}, "command", "must be a list of text"),
        ("exec", {"command": ["a\0b"]}, "command", "must be a list of text"),
        ("exec", {"command": ["a"], "environment": {"A=B": "1"}}, "environment", "must be a table of text"),
        ("exec", {"command": ["a"], "framing": "raw"}, "dtype", "is missing"),
        ("exec", {"command": ["a"], "dtype": "float32"}, "dtype", 'is not for framing = "auto"'),
        ("exec", {"command": ["a"], "framing": "raw", "dtype": "complex64"}, "dtype", "must be one of float32"),
        ("exec", {"command": ["a"], "framing": "raw", "dtype": "int8", "fields": ["a"]}, "fields", 'is not for framing = "raw"'),
        ("socket", {"address": "0.0.0.0:9000", "listen": True}, "address", "public = true"),
        ("socket", {"address": "sensor.lan"}, "address", "must be unix:/path, host:port"),
        ("socket", {"address": "unix:relative"}, "address", "absolute path"),
        ("socket", {"address": 9000}, "address", "must be text"),
        ("socket", {"address": "9000", "framing": "prefixed", "shape": [2]}, "shape", "needs dtype beside it"),
        ("socket", {"address": "9000", "framing": "prefixed", "dtype": "int8", "fields": ["a"]}, "fields", "messages are numbers"),
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
        "print([name for name in ('numpy', 'serial', 'paho', 'asyncio', 'cv2', 'socket', 'subprocess') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_every_kind_has_a_module_that_opens_it() -> None:
    import importlib

    for folder, kinds, function in (("sources", SOURCE_KINDS, "open_source"), ("sinks", SINK_KINDS, "open_sink")):
        for kind in kinds:
            assert callable(getattr(importlib.import_module(f"edge_agent.{folder}.{kind}"), function))


def test_what_is_missing_on_this_machine_is_found_without_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_agent.sources import needs

    monkeypatch.setattr(needs, "find_spec", lambda name: None)
    assert needs.missing_need("camera", {"device": 0}) == ("kind", "OpenCV is not installed: pip install 'edge-runtime[camera]'")
    assert needs.missing_need("serial", {"port": "p"}) == ("kind", "pyserial is not installed: pip install 'edge-runtime[serial]'")
    assert needs.missing_need("exec", {"command": ["/no/such/program"]}) == ("command", "/no/such/program is not a program here")
    assert needs.missing_need("exec", {"command": ["/bin/sh"]}) == ("", "") == needs.missing_need("replay", {"path": "a.csv"})


def test_every_kind_is_in_the_registry_and_in_the_manual() -> None:
    from edge_agent.registry import SOURCES

    manual = (Path(__file__).parents[3] / "docs" / "sources.md").read_text()
    assert set(SOURCES) == set(SOURCE_KINDS)
    for kind, options in _SOURCES.items():
        chapter = manual.partition(f"## `{kind}`")[2].partition("\n## ")[0]
        assert [key for key in options if f"`{key}`" not in chapter and f"`{key}`" not in manual.partition("## Framing")[2]] == [], kind
        assert f'kind = "{kind}"' in chapter


def test_the_examples_of_the_manual_are_right() -> None:
    manual = (Path(__file__).parents[3] / "docs" / "sources.md").read_text()
    examples = [tomli.loads(part.partition("```")[0])["pipelines"] for part in manual.split("```toml")[1:]]
    sources = [(tables[0] if isinstance(tables, list) else tables)["source"] for tables in examples]
    assert sorted(source["kind"] for source in sources) == sorted(SOURCE_KINDS)
    for source in sources:
        assert check_source(source["kind"], {key: value for key, value in source.items() if key != "kind"}, "s") == []
