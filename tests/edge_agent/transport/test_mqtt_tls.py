"""TLS to a real broker: certificates of both sides are checked, and a wrong one is one clear event."""

from __future__ import annotations

from pathlib import Path

import pytest
from brokers import mosquitto
from certificates import Authority
from waiting import wait_for

from edge_agent.clock import SystemClock
from edge_agent.config import MqttConfig
from edge_agent.transport.mqtt import Backoff, MqttTransport
from edge_agent.transport.outbox import SqliteOutbox
from edge_agent.values import Event

pytestmark = pytest.mark.mosquitto


def test_both_sides_are_checked_and_messages_of_every_size_pass(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    server_crt, server_key = ours.issue("server")
    crt, key = ours.issue("device")
    tls = (f"cafile {ours.ca}", f"certfile {server_crt}", f"keyfile {server_key}", "require_certificate true")
    events: list[Event] = []
    heard: list[bytes] = []
    with mosquitto(tmp_path / "broker", *tls) as broker:

        def transport(config: MqttConfig, outbox: SqliteOutbox) -> MqttTransport:
            return MqttTransport(
                config,
                client_id="d1",
                outbox=outbox,
                will_topic="s",
                will_payload=b"",
                birth=list,
                clock=SystemClock(),
                report=events.append,
                backoff=Backoff(0.02, 0.02, 0.05),
            )

        outbox = SqliteOutbox(tmp_path / "outbox.db", quota_mib=4, clock=SystemClock())
        stranger = transport(MqttConfig("127.0.0.1", broker.port, tls_ca=theirs.ca, tls_cert=crt, tls_key=key), outbox)
        stranger.start()
        wait_for(lambda: [e.kind for e in events] == ["broker_unreachable"], what="the refusal of the broker's certificate")
        assert "CERTIFICATE_VERIFY_FAILED" in events[0].message
        stranger.stop()
        assert not stranger.connected()

        one = transport(MqttConfig("127.0.0.1", broker.port, tls_ca=ours.ca, tls_cert=crt, tls_key=key), outbox)
        one.subscribe("echo", lambda topic, payload: heard.append(payload))
        one.start()
        wait_for(one.connected, what="the connection")
        sizes = [1, 1000, 17_000, 70_000, 400_000]
        for size in sizes:
            outbox.put("echo", b"x" * size, keep=1)
        wait_for(lambda: [len(payload) for payload in heard] == sizes, what="every message back")
        one.stop()
        outbox.close()
