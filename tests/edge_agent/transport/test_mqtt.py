"""The connection to a real broker: birth, will, outage, refusal, half-open links; nothing that matters is lost."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from brokers import Broker, Listener, embedded, mosquitto
from waiting import wait_for

from edge_agent.clock import SystemClock
from edge_agent.config import MqttConfig
from edge_agent.transport.mqtt import Backoff, MqttTransport
from edge_agent.transport.outbox import SqliteOutbox
from edge_agent.values import Event

pytestmark = pytest.mark.mosquitto
QUICK = Backoff(first_s=0.05, refused_s=0.05, most_s=0.1)


class Device:
    """A transport with its outbox, and what it reported."""

    def __init__(self, config: MqttConfig, folder: Path, name: str = "d1") -> None:
        folder.mkdir(exist_ok=True)
        self.events: list[Event] = []
        self.outbox = SqliteOutbox(folder / "outbox.db", quota_mib=4, clock=SystemClock(), flush_s=0.05)
        self.transport = MqttTransport(
            config,
            client_id=name,
            outbox=self.outbox,
            will_topic=f"edge/v1/{name}/status",
            will_payload=b"offline",
            birth=lambda: [(f"edge/v1/{name}/status", b"online", True)],
            clock=SystemClock(),
            report=self.events.append,
            backoff=QUICK,
        )

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def up(self) -> bool:
        return self.transport.connected()


@contextmanager
def device(config: MqttConfig, folder: Path, name: str = "d1") -> Iterator[Device]:
    one = Device(config, folder, name)
    one.transport.start()
    try:
        yield one
    finally:
        one.transport.stop(last_words=b"bye")
        one.outbox.close()


def at(port: int, keepalive_s: int = 30) -> MqttConfig:
    return MqttConfig(host="127.0.0.1", port=port, keepalive_s=keepalive_s)


def first_of_each(payloads: list[bytes]) -> list[bytes]:
    return list(dict.fromkeys(payloads))


@pytest.mark.parametrize("start", [mosquitto, embedded], ids=["mosquitto", "embedded"])
def test_birth_messages_commands_and_last_words(tmp_path: Path, start: Callable[[Path], AbstractContextManager[Broker]]) -> None:
    with start(tmp_path / "broker") as broker, Listener(broker.port) as listener:
        heard: list[tuple[str, bytes]] = []
        with device(at(broker.port), tmp_path) as one:
            one.transport.subscribe("edge/v1/d1/command", lambda topic, payload: heard.append((topic, payload)))
            wait_for(one.up)
            for n in range(50):
                one.outbox.put("edge/v1/d1/events", b"%d" % n, keep=1)
            wait_for(lambda: len(listener.on("edge/v1/d1/events")) == 50, what="all events")
            one.transport.subscribe("late/+/topic", lambda topic, payload: heard.append((topic, payload)))
            wait_for(lambda: _sent_until_heard(listener, "edge/v1/d1/command", b"go", heard))
            wait_for(lambda: _sent_until_heard(listener, "late/x/topic", b"too", heard))
            wait_for(lambda: one.outbox.queued() == 0, what="every PUBACK")
        assert listener.on("edge/v1/d1/events") == [b"%d" % n for n in range(50)]
        wait_for(lambda: listener.on("edge/v1/d1/status") == [b"online", b"bye"], what="birth and last words")
        with Listener(broker.port, "edge/v1/+/status") as later:
            # The embedded broker hands a retained message out once for every time it was set.
            wait_for(lambda: set(later.messages) == {("edge/v1/d1/status", b"bye", True)}, what="the retained last words")
        assert one.kinds() == ["broker_connected"]


def _sent_until_heard(listener: Listener, topic: str, payload: bytes, heard: list[tuple[str, bytes]]) -> bool:
    listener.publish(topic, payload)
    return (topic, payload) in heard


CHILD = """
import sys, threading
from pathlib import Path
from edge_agent.clock import SystemClock
from edge_agent.config import MqttConfig
from edge_agent.transport.mqtt import MqttTransport
from edge_agent.transport.outbox import SqliteOutbox
port, folder, mode = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
outbox = SqliteOutbox(folder / "outbox.db", quota_mib=4, clock=SystemClock(), flush_s=3600.0)
transport = MqttTransport(MqttConfig(host="127.0.0.1", port=port), client_id="d1", outbox=outbox, will_topic="edge/v1/d1/status",
    will_payload=b"offline", birth=lambda: [("edge/v1/d1/status", b"online", True)], clock=SystemClock(), report=lambda event: None)
if mode == "online":
    transport.start()
for n in range(30):
    outbox.put("edge/v1/d1/events", b"%d" % n, keep=1 + n % 2)
print("put", flush=True)
threading.Event().wait()
"""


def _child(port: int, folder: Path, mode: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(port), str(folder), mode], stdout=subprocess.PIPE)


def test_the_broker_says_offline_for_an_agent_that_was_killed(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker, Listener(broker.port) as listener:
        with _child(broker.port, tmp_path, "online") as child:
            wait_for(lambda: listener.on("edge/v1/d1/status") == [b"online"], 20, "the birth")
            child.kill()
        wait_for(lambda: listener.on("edge/v1/d1/status") == [b"online", b"offline"], what="the will")


def test_what_was_put_before_the_process_was_killed_is_published_by_the_next(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker, Listener(broker.port, "edge/v1/d1/events") as listener:
        with _child(broker.port, tmp_path, "offline") as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"put\n"
            child.kill()
        assert listener.messages == []
        with device(at(broker.port), tmp_path) as one:
            wait_for(lambda: one.up() and one.outbox.queued() == 0, what="the outbox to drain")
            wait_for(lambda: len(listener.messages) >= 30)
        assert listener.on("edge/v1/d1/events") == [b"%d" % n for n in range(30)]


def test_nothing_is_lost_and_order_is_kept_when_the_broker_is_killed_and_comes_back(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker", "persistence true") as broker:
        # The session is in the broker's file after an orderly stop, so a killed broker knows it when it comes back.
        with Listener(broker.port, "edge/v1/d1/events", session="fleet"):
            pass
        broker.stop()
        broker.start()
        with device(at(broker.port), tmp_path) as one, Listener(broker.port, "edge/v1/d1/events", session="fleet") as listener:
            for n in range(20):
                one.outbox.put("edge/v1/d1/events", b"%d" % n, keep=1)
            wait_for(lambda: len(listener.messages) == 20 and one.outbox.queued() == 0, what="the first messages")
            broker.kill()
            wait_for(lambda: "broker_lost" in one.kinds(), what="the loss to be noticed")
            for n in range(20, 120):
                one.outbox.put("edge/v1/d1/events", b"%d" % n, keep=n % 2 + 1)
            assert one.outbox.queued() == 100
            broker.start()
            wait_for(lambda: one.outbox.queued() == 0, 20, "the outbox to drain")
            wait_for(lambda: len(set(listener.on("edge/v1/d1/events"))) == 120, 20, "every message")
            assert first_of_each(listener.on("edge/v1/d1/events")) == [b"%d" % n for n in range(120)]
            # Whether an attempt fell into the outage is chance.
            assert [kind for kind in one.kinds() if kind != "broker_unreachable"] == ["broker_connected", "broker_lost", "broker_connected"]
            assert one.outbox.dropped() == 0


def test_connections_cut_under_load_lose_nothing(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker, Listener(broker.port, "edge/v1/d1/events") as listener:
        with device(at(broker.port), tmp_path) as one:
            wait_for(one.up)
            for n in range(300):
                one.outbox.put("edge/v1/d1/events", b"%d" % n, keep=1)
                if n % 60 == 30:
                    # A second client with the same name: the broker cuts the first one off.
                    with device(at(broker.port), tmp_path / "thief"):
                        wait_for(lambda: not one.up(), what="the cut")
            wait_for(lambda: one.outbox.queued() == 0, 20, "the outbox to drain")
            wait_for(lambda: len(set(listener.on("edge/v1/d1/events"))) == 300, what="every message")
        assert first_of_each(listener.on("edge/v1/d1/events")) == [b"%d" % n for n in range(300)]


def test_an_agent_that_starts_before_its_broker_connects_when_it_comes(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        broker.kill()
        with device(at(broker.port), tmp_path) as one:
            one.outbox.put("edge/v1/d1/events", b"early", keep=1)
            wait_for(lambda: one.kinds() == ["broker_unreachable"], what="the event")
            assert "127.0.0.1" in one.events[0].message
            broker.start()
            wait_for(one.up, what="the connection")
            wait_for(lambda: one.outbox.queued() == 0)
            assert one.kinds() == ["broker_unreachable", "broker_connected"]


def test_a_wrong_password_is_one_event_and_a_right_one_is_taken_up_without_a_restart(tmp_path: Path) -> None:
    accounts = tmp_path / "accounts"
    password = tmp_path / "password"
    password.write_text("wrong\n")
    accounts.write_text(_mosquitto_account("edge", "right"))
    accounts.chmod(0o600)
    with mosquitto(tmp_path / "broker", "allow_anonymous false", f"password_file {accounts}") as broker:
        config = MqttConfig(host="127.0.0.1", port=broker.port, username="edge", password_file=password)
        with device(config, tmp_path) as one:
            attempts = (tmp_path / "broker" / "mosquitto.log").read_text
            wait_for(lambda: attempts().count("not authorised") >= 4, what="several attempts")
            assert one.kinds() == ["broker_refused"]
            assert "Not authorized" in one.events[0].message or "password" in one.events[0].message
            password.write_text("right\n")
            wait_for(one.up, what="the connection")
            assert one.kinds() == ["broker_refused", "broker_connected"]


def _mosquitto_account(name: str, password: str) -> str:
    """A line of Mosquitto's password file: PBKDF2-SHA512, as its manual page describes."""
    salt = b"twelve bytes"
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"{name}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}\n"


def test_a_missing_password_file_is_one_event_that_names_it(tmp_path: Path) -> None:
    config = MqttConfig(host="127.0.0.1", port=1, username="edge", password_file=tmp_path / "absent")
    with device(config, tmp_path) as one:
        wait_for(lambda: one.kinds() == ["broker_unreachable"])
        assert str(tmp_path / "absent") in one.events[0].message


def test_a_frozen_broker_is_noticed_by_keepalive(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker, device(at(broker.port, keepalive_s=1), tmp_path) as one:
        wait_for(one.up)
        broker.freeze()
        try:
            one.outbox.put("edge/v1/d1/events", b"into the void", keep=1)
            wait_for(lambda: "broker_lost" in one.kinds(), what="the loss to be noticed")
            assert "no sign of life within 1 s" in one.events[1].message
        finally:
            broker.thaw()
        wait_for(lambda: one.up() and one.outbox.queued() == 0, 20, "the message to be delivered after all")


def test_a_handler_or_message_that_fails_does_not_take_the_connection_down(tmp_path: Path) -> None:
    def broken(topic: str, payload: bytes) -> None:
        raise RuntimeError("no")

    with mosquitto(tmp_path / "broker") as broker, device(at(broker.port), tmp_path) as one, Listener(broker.port, "ok") as listener:
        one.transport.subscribe("cmd", broken)
        wait_for(one.up)
        one.outbox.put("bad/#", b"a wildcard cannot be published to", keep=1)
        one.outbox.put("ok", b"next", keep=1)
        wait_for(lambda: listener.on("ok") == [b"next"], what="the message behind the bad one")

        def failed() -> bool:
            listener.publish("cmd", b"x")
            return "handler_failed" in one.kinds()

        wait_for(failed)
        assert one.up()
        assert "message_unsendable" in one.kinds()
