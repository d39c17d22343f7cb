"""A simulated device on a real broker: births, last will, commands answered as told, results repeated until acknowledged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from waiting import wait_for

from edge_agent.protocol.codec import decode, encode
from edge_agent.protocol.messages import (
    AckMessage,
    BoardMetrics,
    CommandMessage,
    EventMessage,
    LatencySummary,
    MetricsMessage,
    ModelEntry,
    PipelineMetrics,
    ProcessMetrics,
    ResultMessage,
    StatusMessage,
)
from edge_agent.protocol.topics import Topics

T = "2026-01-01T00:00:00.000Z"
Answer = Callable[["SimulatedDevice", CommandMessage], None]


def obey(device: SimulatedDevice, command: CommandMessage) -> None:
    """Accept, report the update's states, and do it."""
    device.result(command, "accepted")
    for before, after in (("IDLE", "FETCHING"), ("FETCHING", "TRYING")):
        device.event(command, before, after)
    version = str(command.args.get("version", device.before))
    if command.kind in ("deploy", "rollback"):
        device.before, device.version = device.version, version
    device.result(
        command, "done", data={"model": command.args.get("model", ""), "version": version} if command.args else {"agent_version": "9"}
    )


def refuse(device: SimulatedDevice, command: CommandMessage) -> None:
    device.result(command, "refused", reason="golden input 0 is off by 0.9")


def ignore(device: SimulatedDevice, command: CommandMessage) -> None:
    """Say nothing."""


class SimulatedDevice:
    """``answer`` runs on the network thread for every command id seen the first time; a repeated id repeats its last result."""

    def __init__(
        self,
        port: int,
        name: str,
        *,
        answer: Answer = obey,
        version: str = "1.0.0",
        profile: str = "rpi4",
        labels: Mapping[str, str] | None = None,
        boot: str = "b1",
    ) -> None:
        self.name, self.version, self.before = name, version, "0.9.0"
        self.commands: list[CommandMessage] = []
        self.acks: list[str] = []
        self.boot = boot
        self._profile, self._labels = profile, dict(labels or {})
        self._topics = Topics(name)
        self._answer = answer
        self._last: dict[str, ResultMessage] = {}
        self._ready = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"device-{name}", protocol=mqtt.MQTTv311)
        self._client.will_set(self._topics.status, encode(StatusMessage(name, "offline")), qos=1, retain=True)
        self._client.on_connect = lambda client, *_: client.subscribe([(self._topics.command, 1), (self._topics.ack, 1)])
        self._client.on_subscribe = self._born
        self._client.on_message = self._heard
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        wait_for(self._ready.is_set, 10, f"{name} is born")

    def status(self) -> None:
        models = (ModelEntry("digits", self.version, "d" * 64, "serving"),)
        message = StatusMessage(self.name, "online", T, self.boot, "1.0", self._profile, "aarch64", {}, models, ("line",), self._labels)
        self._publish(self._topics.status, encode(message), retain=True)

    def metrics(self, seq: int = 1) -> None:
        latency = {"total": LatencySummary(100, 400.0, 900.0, 1500.0, 2000.0)}
        line = PipelineMetrics("line", "digits", self.version, 99.5, 100, 100, 0, 0, 0, 0, 100, latency)
        processes = (ProcessMetrics("control", 1, 20.0, 12.5, 0.5), ProcessMetrics("zygote", 2, 40.0, 30.0, 0.0))
        board = BoardMetrics(cpu_percent=17.5, temperature_c=51.2)
        self._publish(self._topics.metrics, encode(MetricsMessage(self.name, T, seq, 1.0, board, (line,), (), processes, 3)))

    def event(self, command: CommandMessage, before: str, after: str) -> None:
        data = {"command_id": command.id, "from": before, "to": after}
        self._publish(self._topics.events, encode(EventMessage(self.name, T, "update_state", "info", f"{before} to {after}", data)))

    def result(self, command: CommandMessage, status: str, *, reason: str = "", data: Mapping[str, Any] | None = None) -> None:
        self._last[command.id] = ResultMessage(self.name, command.id, command.kind, status, T, reason, dict(data or {}))
        self.repeat(command.id)

    def repeat(self, command_id: str) -> None:
        """Tell the last result of ``command_id`` again, as a device does until it is acknowledged."""
        self._publish(self._topics.result, encode(self._last[command_id]))

    def raw(self, kind: str, payload: bytes) -> None:
        self._publish(f"{self._topics.base}/{kind}", payload)

    def vanish(self) -> None:
        """Drop the connection without goodbye: the broker publishes the last will."""
        self._client.loop_stop()
        socket = self._client.socket()
        if socket is not None:
            socket.close()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _born(self, *_: object) -> None:
        self.status()
        self._ready.set()

    def _heard(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        if message.topic == self._topics.ack:
            self.acks.append(decode(AckMessage, bytes(message.payload)).id)
            return
        if message.topic != self._topics.command:
            return  # the embedded broker sends retained messages of other clients' subscriptions too
        command = decode(CommandMessage, bytes(message.payload))
        self.commands.append(command)
        if command.id in self._last:
            self.repeat(command.id)
        else:
            self._answer(self, command)

    def _publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain)
