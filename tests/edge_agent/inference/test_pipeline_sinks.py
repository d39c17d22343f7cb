"""Pipelines with many sinks, in their real processes: good ones get everything, dead ones hold up nobody, and all is accounted for."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_rig import Rig
from waiting import wait_for
from web_server import WebServer, status

from edge_agent.config import SinkConfig
from edge_agent.values import SinkCounts


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as started:
        yield started


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def counts(rig: Rig) -> dict[str, SinkCounts]:
    told = dict(rig.status().sinks)
    for counted in told.values():
        assert counted.given == counted.emitted + counted.dropped + counted.failed + counted.waiting
    return told


def arrived(server: WebServer) -> list[int]:
    return [item["window_seq"] for request in server.requests for item in json.loads(request.body)]


def test_good_sinks_get_everything_and_bad_ones_hold_up_nobody(rig: Rig, server: WebServer, tmp_path: Path) -> None:
    copy = f"import sys; out = open({str(tmp_path / 'fed')!r}, 'w')\nfor line in sys.stdin: out.write(line); out.flush()"
    sinks = (
        SinkConfig("jsonl", {"path": str(tmp_path / "second.jsonl")}),
        SinkConfig("webhook", {"url": f"http://127.0.0.1:{server.port}/", "batch": 100, "every_s": 0.05, "queue": 1000}),
        SinkConfig("webhook", {"url": f"http://127.0.0.1:{closed_port()}/", "queue": 50}),
        SinkConfig("exec", {"command": [sys.executable, "-c", copy], "queue": 1000}),
        SinkConfig("exec", {"command": ["sleep", "600"], "policy": "latest_only", "timeout_s": 600}),
        SinkConfig("exec", {"command": ["/nowhere/tool"]}),
        SinkConfig("socket", {"listen": str(tmp_path / "s"), "queue": 1000}),
        SinkConfig("gpio", {"chip": "nochip", "line": 1, "labels": ["a"]}),
    )
    rig.replay(500, sinks=sinks)
    done = rig.wait_ended()
    assert done.counters.processed == 500 and len(rig.lines()) == 500
    assert len((tmp_path / "second.jsonl").read_text().splitlines()) == 500
    wait_for(lambda: sorted(arrived(server)) == list(range(500)))
    wait_for(lambda: (tmp_path / "fed").exists() and len((tmp_path / "fed").read_text().splitlines()) == 500)
    wait_for(lambda: counts(rig)["p.webhook"].emitted == counts(rig)["p.exec"].emitted == 500)
    told = counts(rig)
    assert {counted.given for counted in told.values()} == {500}
    assert told["p.jsonl"] == told["p.jsonl.2"] == told["p.socket"] == SinkCounts(500, 500, 0, 0, 0)
    assert told["p.webhook.2"] == SinkCounts(500, 0, 450, 0, 50)
    assert told["p.exec.3"].emitted == 0 and told["p.exec.3"].dropped > 0
    assert told["p.gpio"] == SinkCounts(500, 0, 0, 500, 0)
    lost = [event.message for event in rig.events if event.kind == "sink_lost"]
    assert len(lost) == 3 and all(any(name in text for text in lost) for name in ("p.webhook.2", "p.exec.3", "p.gpio"))


def test_a_sink_that_blocks_slows_the_pipeline_and_loses_nothing(rig: Rig, server: WebServer) -> None:
    server.script.extend([status(500)] * 3)
    sink = SinkConfig("webhook", {"url": f"http://127.0.0.1:{server.port}/", "policy": "block", "queue": 1})
    rig.replay(300, sinks=(sink,), queue=1000)
    assert rig.wait_ended().counters.processed == 300
    wait_for(lambda: counts(rig)["p.webhook"] == SinkCounts(300, 300, 0, 0, 0))
    assert [json.loads(request.body)["window_seq"] for request in server.requests[3:]] == list(range(300))


def test_a_pipeline_that_a_sink_blocks_for_good_can_be_ended(rig: Rig) -> None:
    sink = SinkConfig("exec", {"command": ["sleep", "600"], "policy": "block", "queue": 1, "timeout_s": 600})
    rig.replay(100_000, sinks=(sink,), loop=True)
    wait_for(lambda: counts(rig).get("p.exec", SinkCounts()).waiting == 2)
    pid = rig.pid("pipeline")
    rig.engine.stop()
    assert not Path(f"/proc/{pid}").exists()
