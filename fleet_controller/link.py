"""The fleet side's MQTT connection: paho-mqtt's network thread puts what arrives into a queue, the caller takes it out.

A clean session on MQTT 3.1.1: brokers need not keep anything for the controller, since devices repeat their final results until
these are acknowledged. After a lost connection paho connects again and everything is subscribed anew.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.clock import Clock, monotonic_s
from edge_agent.errors import TransportError
from edge_agent.protocol.topics import DEFAULT_PREFIX, parse
from fleet_controller.hear import Received

CONNECT_S = 10.0
KEEPALIVE_S = 30
SETTLE_S = 3.0
_MAX_QUEUED = 100_000


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker is and how to be let in. ``ca`` set means TLS, the server checked against that file of certificates."""

    host: str
    port: int
    username: str = ""
    password: str = ""
    ca: Path | None = None
    prefix: str = DEFAULT_PREFIX

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class FleetLink:
    """Use as a context manager. ``on_change(connected)`` is called on another thread when the connection is lost or regained."""

    def __init__(self, address: BrokerAddress, clock: Clock, *, on_change: Callable[[bool], None] | None = None) -> None:
        self._address = address
        self._clock = clock
        self._on_change = on_change or (lambda connected: None)
        self._inbox: queue.Queue[Received] = queue.Queue(_MAX_QUEUED)
        self._kinds: tuple[str, ...] = ()
        self._answered = threading.Event()
        self._refusal = ""
        self._subscribed = threading.Event()
        self._probe = f"{address.prefix}/fleet-{uuid.uuid4().hex[:12]}/probe"
        self._probe_back = threading.Event()
        self._unsent: list[paho.MQTTMessageInfo] = []
        self._client = self._make_client()

    def __enter__(self) -> FleetLink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self, kinds: Iterable[str]) -> None:
        """Connect and subscribe to ``kinds`` (such as ``status``) of every device. Raises :class:`TransportError` saying what is wrong."""
        address = self._address
        self._kinds = tuple(kinds)
        try:
            self._client.connect(address.host, address.port, KEEPALIVE_S)
        except (OSError, ValueError) as error:
            raise TransportError(f"broker {address}: {_why(error)}") from None
        self._client.loop_start()
        if not self._answered.wait(CONNECT_S):
            self.close()
            raise TransportError(f"broker {address}: no answer within {CONNECT_S:g} s; is it an MQTT broker{_tls_hint(address)}?")
        if self._refusal:
            self.close()
            raise TransportError(f"broker {address}: refused the connection: {self._refusal}")

    def settle(self) -> None:
        """Return when the retained messages are in: a message to oneself comes back behind them. Gives up after 3 s in silence."""
        if self._subscribed.wait(SETTLE_S):
            self._client.publish(self._probe, b"?", qos=1)
            self._probe_back.wait(SETTLE_S)

    def receive(self, timeout_s: float) -> Received | None:
        """The next message, ``None`` when none came within ``timeout_s``."""
        try:
            return self._inbox.get(timeout=max(0.0, timeout_s)) if timeout_s > 0 else self._inbox.get_nowait()
        except queue.Empty:
            return None

    def publish(self, topic: str, payload: bytes) -> None:
        """Send with QoS 1, not retained; kept in memory while the broker is away."""
        self._unsent = [info for info in self._unsent if not info.is_published()]
        self._unsent.append(self._client.publish(topic, payload, qos=1))

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Whether the broker has acknowledged everything published, waiting at most ``timeout_s``."""
        deadline_s = monotonic_s(self._clock) + timeout_s
        for info in self._unsent:
            info.wait_for_publish(max(0.0, deadline_s - monotonic_s(self._clock)))
        return all(info.is_published() for info in self._unsent)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _make_client(self) -> paho.Client:
        address = self._address
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"edge-fleet-{uuid.uuid4().hex[:12]}", protocol=paho.MQTTv311)
        client.connect_timeout = CONNECT_S
        client.reconnect_delay_set(min_delay=1, max_delay=30)
        if address.username:
            client.username_pw_set(address.username, address.password)
        if address.ca is not None:
            try:
                client.tls_set_context(ssl.create_default_context(cafile=str(address.ca)))
            except (OSError, ssl.SSLError) as error:
                raise TransportError(f"{address.ca}: not a readable file of CA certificates: {error}") from None
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _connected(self, client: paho.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        first = not self._answered.is_set()
        if reason.is_failure:
            self._refusal = str(reason)
        else:
            client.subscribe([(f"{self._address.prefix}/+/{kind}", 1) for kind in self._kinds] + [(self._probe, 1)])
            if not first:
                self._on_change(True)
        self._answered.set()

    def _disconnected(self, _client: paho.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if self._answered.is_set() and not self._refusal and reason.is_failure:
            self._on_change(False)

    def _on_subscribe(self, *_: Any) -> None:
        self._subscribed.set()

    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        if message.topic == self._probe:
            self._probe_back.set()
            return
        topic = parse(message.topic, self._address.prefix)
        # amqtt sends a new client the retained messages of other clients' subscriptions too
        if topic is not None and topic.kind in self._kinds:
            try:
                self._inbox.put_nowait(Received(topic, bytes(message.payload), bool(message.retain)))
            except queue.Full:
                pass  # a reader this far behind has lost the present anyway; results come again


def _why(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there; start a broker, or name the right one by --broker HOST:PORT"
    if isinstance(error, socket.gaierror):
        return f"unknown host ({error.strerror})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid for this --ca: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or error}); does it speak TLS on this port?"
    if isinstance(error, TimeoutError):
        return f"no connection within {CONNECT_S:g} s"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _tls_hint(address: BrokerAddress) -> str:
    return "" if address.ca is not None else ", and does it want TLS (--ca)"
