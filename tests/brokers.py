"""Real MQTT brokers for tests: Mosquitto from PATH, and the embedded one of this project, each on a free loopback port.

Both come as objects that can be started, killed, frozen and started again on the same port.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from waiting import wait_for

from examples.demo.processes import free_port, listening, mosquitto_path


class Broker:
    """A broker process on ``port``; ``start`` may be called again after ``kill`` or ``stop``."""

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.port = port
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for(lambda: listening(self.port) or self._ended(), 20, f"{self._command[0]} on port {self.port}")
        assert not self._ended(), self._log.read_text(errors="replace")[-2000:]

    def kill(self) -> None:
        """End it as power loss would."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order, so that it saves what it wants to save."""
        self._signal(signal.SIGTERM)

    def freeze(self) -> None:
        """Connections stay open and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            if number is not signal.SIGKILL:
                self._process.send_signal(signal.SIGCONT)
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(timeout=5)


@contextmanager
def mosquitto(folder: Path, *settings: str) -> Iterator[Broker]:
    """A running Mosquitto with its files in ``folder``; ``settings`` are lines of its configuration. Skips where there is none."""
    program = mosquitto_path()
    if program is None:
        pytest.skip("Mosquitto is not on PATH")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    access = () if any(line.startswith("allow_anonymous") for line in settings) else ("allow_anonymous true",)
    lines = (f"listener {port} 127.0.0.1", "max_queued_messages 0", "user root", f"persistence_location {folder}/", *access, *settings)
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n")
    yield from _running(Broker([program, "-c", str(config)], port, folder / "mosquitto.log"))


@contextmanager
def embedded(folder: Path) -> Iterator[Broker]:
    """A running embedded broker, in a process of its own. Skips where its library is not installed."""
    pytest.importorskip("amqtt")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "fleet_controller.broker", "--host", "127.0.0.1", "--port", str(port)]
    yield from _running(Broker(command, port, folder / "broker.log"))


def _running(broker: Broker) -> Iterator[Broker]:
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


class Listener:
    """A client that writes down everything published under ``pattern``. Reconnects by itself; duplicates are kept."""

    def __init__(self, port: int, pattern: str = "#", *, session: str = "") -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self._pattern = pattern
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=session, clean_session=not session, protocol=mqtt.MQTTv311)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _data, m: self.messages.append((m.topic, bytes(m.payload), m.retain))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        wait_for(self._subscribed.is_set, 10, "the listener's subscription")

    def _on_connect(self, client: mqtt.Client, *_: object) -> None:
        client.subscribe(self._pattern, qos=1)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait for the broker to have it."""
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(5)

    def on(self, topic: str) -> list[bytes]:
        """Payloads seen on exactly ``topic``."""
        return [payload for name, payload, _ in list(self.messages) if name == topic]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
