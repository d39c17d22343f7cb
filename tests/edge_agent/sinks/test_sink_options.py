"""What is wrong with a sink's options comes out by key."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.registry import SINKS, sink_opener
from edge_agent.sinks.endpoint import parse_endpoint
from edge_agent.sinks.options import SINK_KINDS, check_sink
from edge_agent.sinks.terms import terms_of

GOOD: dict[str, dict[str, Any]] = {
    "jsonl": {"path": "/tmp/o"},
    "mqtt": {},
    "serial": {"port": "/dev/ttyUSB0", "baud_rate": 9600, "format": "csv"},
    "gpio": {"chip": "gpiochip0", "line": 17, "labels": ["fault"]},
    "exec": {"command": ["logger", "-t", "edge"]},
    "webhook": {"url": "https://example.org/in", "batch": 10, "headers": {"X-Site": "plant 4"}},
    "socket": {"listen": "/run/edge/out.sock"},
}


def test_every_kind_is_known_everywhere() -> None:
    assert set(GOOD) == set(SINKS) == set(SINK_KINDS)
    for kind in SINKS:
        assert callable(sink_opener(kind))


@pytest.mark.parametrize("kind", GOOD)
def test_what_is_right_passes(kind: str) -> None:
    assert check_sink(kind, GOOD[kind], "s") == []
    assert check_sink(kind, {**GOOD[kind], "queue": 12, "policy": "block", "max_age_s": 5}, "s") == []


@pytest.mark.parametrize(
    ("kind", "options", "key"),
    [
        ("jsonl", {"path": "o", "queue": 0}, "queue"),
        ("mqtt", {"policy": "drop_newest"}, "policy"),
        ("mqtt", {"policy": "latest_only", "queue": 5}, "queue"),
        ("serial", {}, "port"),
        ("serial", {"port": "p", "baud_rate": 12345}, "baud_rate"),
        ("serial", {"port": "p", "format": "xml"}, "format"),
        ("gpio", {"chip": "c", "line": 1}, "labels"),
        ("gpio", {"chip": "c", "line": -1, "labels": ["a"]}, "line"),
        ("gpio", {"chip": "c", "line": True, "labels": ["a"]}, "line"),
        ("gpio", {"chip": "c", "line": 1, "labels": ["a"], "pulse_ms": -1}, "pulse_ms"),
        ("exec", {"command": "rm -rf /"}, "command"),
        ("exec", {"command": []}, "command"),
        ("exec", {"command": ["bin/tool"]}, "command"),
        ("exec", {"command": ["tool"], "timeout_s": 0}, "timeout_s"),
        ("webhook", {"url": "ftp://x"}, "url"),
        ("webhook", {"url": "http://example.org/"}, "url"),
        ("webhook", {"url": "https://user:word@example.org/"}, "url"),
        ("webhook", {"url": "https://example.org:99999/"}, "url"),
        ("webhook", {"url": "https://exa mple.org/"}, "url"),
        ("webhook", {"url": "https://h/", "headers": {"A b": "c"}}, "headers"),
        ("webhook", {"url": "https://h/", "headers": {"A": "c\r\nB: d"}}, "headers"),
        ("webhook", {"url": "https://h/", "token_header": "X-Key"}, "token_header"),
        ("webhook", {"url": "https://h/", "batch": 300}, "batch"),
        ("webhook", {"url": "http://127.0.0.1/", "tls_ca": "ca.pem"}, "tls_ca"),
        ("socket", {}, "listen"),
        ("socket", {"listen": "/a", "connect": "/b"}, "listen"),
        ("socket", {"listen": "0.0.0.0:9000"}, "listen"),
        ("socket", {"connect": "example.org:9000"}, "connect"),
        ("socket", {"connect": "nonsense"}, "connect"),
    ],
)
def test_what_is_wrong_is_named(kind: str, options: dict[str, Any], key: str) -> None:
    [problem] = check_sink(kind, options, "pipelines[0].sinks[1]")
    assert problem.where == f"pipelines[0].sinks[1].{key}"


def test_plain_text_over_the_network_must_be_asked_for() -> None:
    assert check_sink("webhook", {"url": "http://example.org/", "insecure": True}, "s") == []
    assert check_sink("webhook", {"url": "http://[::1]:80/"}, "s") == []
    assert check_sink("socket", {"listen": "0.0.0.0:9000", "insecure": True}, "s") == []
    assert check_sink("socket", {"connect": "localhost:9000"}, "s") == []


@given(st.text() | st.sampled_from(["[::1]:9000", "unix:/a", "tcp:h:1", "h:", ":1", "[::1]", "h:0", "::1:80", "/" + "x" * 200]))
def test_an_address_is_understood_or_refused_in_words(text: str) -> None:
    try:
        endpoint = parse_endpoint(text)
    except ValueError as error:
        assert str(error)
    else:
        assert endpoint.path.startswith("/") if endpoint.path else endpoint.host and 0 < endpoint.port < 65536
        assert parse_endpoint(str(endpoint)) == endpoint


@given(st.dictionaries(st.sampled_from([*GOOD["webhook"], "connect", "listen", "line", "command"]), st.integers() | st.text() | st.none()))
def test_no_options_break_the_check(options: dict[str, Any]) -> None:
    for kind in SINK_KINDS:
        check_sink(kind, options, "s")


def test_quick_kinds_are_direct_until_a_queue_is_asked_for() -> None:
    assert terms_of("jsonl", {"path": "o"}).direct and terms_of("gpio", {}).direct and terms_of("mqtt", {}).direct
    assert not terms_of("jsonl", {"policy": "block"}).direct and not terms_of("mqtt", {"queue": 3}).direct
    assert not terms_of("webhook", {}).direct and not terms_of("socket", {"connect": "/s"}).direct
    assert terms_of("socket", {"listen": "/s"}).direct and not terms_of("socket", {"listen": "/s", "policy": "block"}).direct
