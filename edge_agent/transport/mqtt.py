"""The connection to the broker, over paho-mqtt: made in the background, made again for ever, fed from the outbox.

MQTT 3.1.1 (the version every broker speaks) with a clean session: what must not be lost is in our own store, not in the broker's or in
paho's memory. Every connection gets a fresh paho client, so paho never remembers messages that the outbox will send again.

One thread does everything. It drives paho through its external-loop calls and waits with ``poll``: paho's own loops use ``select``,
which fails without a word on descriptors from 1024 up.
"""

from __future__ import annotations

import os
import random
import select
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.clock import Clock, monotonic_s
from edge_agent.config import MqttConfig
from edge_agent.errors import TransportError
from edge_agent.ports import Reporter
from edge_agent.transport.outbox import SqliteOutbox
from edge_agent.transport.paho_alone import import_client
from edge_agent.values import Event

if TYPE_CHECKING:
    import paho.mqtt.client as mqtt
else:
    mqtt = import_client()

IN_FLIGHT = 20
"""Messages sent and not yet acknowledged: more than this gains nothing, and all of it is sent again after a break."""
TICK_S = 1.0
ANSWER_S = 10.0
STOP_S = 3.0
STABLE_S = 10.0
"""A connection that lasted this long starts the back-off anew; one that breaks at once does not."""
DESCRIPTORS_HIGH = 1000
_CLOSED = (MQTTErrorCode.MQTT_ERR_CONN_LOST, MQTTErrorCode.MQTT_ERR_NO_CONN)

Handler = Callable[[str, bytes], None]
Birth = Callable[[], list[tuple[str, bytes, bool]]]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between attempts: uniformly drawn below a cap that doubles (full jitter), so that a fleet does not return all at once.

    ``refused_s`` is the first cap when the broker said no: asking again soon does not help, and locks accounts.
    """

    first_s: float = 1.0
    refused_s: float = 15.0
    most_s: float = 60.0

    def wait_s(self, attempt: int, *, refused: bool) -> float:
        """Seconds before attempt number ``attempt`` (from 1)."""
        cap_s = min(self.most_s, (self.refused_s if refused else self.first_s) * 2.0 ** min(attempt - 1, 16))
        # Even a refused client keeps half: a full draw could be nothing.
        return random.uniform(cap_s / 2 if refused else 0.0, cap_s)


class MqttTransport:
    """Implements :class:`edge_agent.ports.Transport`. Handlers run on its thread; one that raises is reported, and the connection stays."""

    def __init__(
        self,
        config: MqttConfig,
        *,
        client_id: str,
        outbox: SqliteOutbox,
        will_topic: str,
        will_payload: bytes,
        birth: Birth,
        clock: Clock,
        report: Reporter,
        backoff: Backoff | None = None,
    ) -> None:
        """``birth`` gives what is published first on every connection, (topic, payload, retain); it runs on the transport's thread."""
        self._config = config
        self._client_id = client_id
        self._outbox = outbox
        self._will = (will_topic, will_payload)
        self._birth = birth
        self._clock = clock
        self._report = report
        self._backoff = backoff or Backoff()
        self._handlers: dict[str, Handler] = {}
        self._lock = threading.Lock()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = threading.Event()
        self._online = threading.Event()
        self._last_words: bytes | None = None
        self._told: set[str] = set()
        self._refusal = ""
        self._silent = False
        self._sent: dict[int, int] = {}
        self._asked: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        outbox.listen(self._wake)

    # For the rest of the agent

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._thread.start()

    def subscribe(self, topic: str, handler: Handler) -> None:
        """Call ``handler(topic, payload)`` for every message to ``topic`` (wildcards allowed), now and after every reconnect."""
        with self._lock:
            self._handlers = {**self._handlers, topic: handler}
        self._wake()

    def connected(self) -> bool:
        """Whether the broker has accepted us and the connection is not known to be broken."""
        return self._online.is_set()

    def stop(self, *, last_words: bytes | None = None) -> None:
        """Publish ``last_words`` (retained, to the will's topic), disconnect cleanly and end the thread; bounded in time."""
        self._last_words = last_words
        self._stopping.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(timeout=STOP_S + 2 * TICK_S)

    def _wake(self) -> None:
        try:
            os.eventfd_write(self._wake_fd, 1)
        except OSError:
            pass  # the counter is at its limit: the thread is being woken already

    # The thread

    def _run(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            self._refusal = ""
            self._silent = False
            client: mqtt.Client | None = None
            began_s = monotonic_s(self._clock)
            try:
                client = self._connect()
                self._serve(client)
            except Exception as error:  # whatever it is, this thread goes on: without it the device is deaf and mute
                self._lost(str(error) or type(error).__name__)
            finally:
                self._online.clear()
                if client is not None:
                    _drop(client)
            attempt = 0 if monotonic_s(self._clock) - began_s > STABLE_S and not self._refusal else attempt + 1
            self._stopping.wait(self._backoff.wait_s(max(1, attempt), refused=bool(self._refusal)))

    def _connect(self) -> mqtt.Client:
        """A client whose CONNECT is under way. Raises OSError (network, TLS, files), ValueError or TransportError."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self._client_id, protocol=mqtt.MQTTv311, reconnect_on_failure=False)
        client.max_inflight_messages_set(IN_FLIGHT)
        client.will_set(self._will[0], self._will[1], qos=1, retain=True)
        if self._config.username:
            client.username_pw_set(self._config.username, self._password())
        if self._config.tls_ca is not None:
            client.tls_set_context(self._tls())
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        self._sent.clear()
        self._asked = set()
        self._outbox.rewind()
        client.connect(self._config.host, self._config.port, keepalive=self._config.keepalive_s)
        return client

    def _password(self) -> str | None:
        """Read anew for every connection, so that a changed password needs no restart."""
        file = self._config.password_file
        return None if file is None else file.read_text(encoding="utf-8").rstrip("\r\n")

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self._config.tls_ca))
        if self._config.tls_cert is not None:
            context.load_cert_chain(str(self._config.tls_cert), None if self._config.tls_key is None else str(self._config.tls_key))
        return context

    def _serve(self, client: mqtt.Client) -> None:
        """Keep one connection going until it breaks (TransportError) or the agent stops."""
        deadline_s = monotonic_s(self._clock) + ANSWER_S
        while not self._stopping.is_set():
            self._turn(client, TICK_S)
            if self._online.is_set():
                self._ask(client)
                self._feed(client)
            elif monotonic_s(self._clock) > deadline_s:
                raise TransportError(f"no answer to CONNECT within {ANSWER_S:.0f} s")
        self._say_goodbye(client)

    def _turn(self, client: mqtt.Client, timeout_s: float) -> None:
        """Wait for the network or a wake-up, and let paho do what is due. Raises TransportError when the connection is gone."""
        sock = client.socket()
        if sock is None:
            raise TransportError(self._why_closed())
        self._watch_descriptors(sock.fileno())
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN | (select.POLLOUT if client.want_write() else 0))
        poll.register(self._wake_fd, select.POLLIN)
        # TLS may have decrypted more than was read: the socket is silent then, but there is work.
        waiting = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        ready = dict(poll.poll(0 if waiting else timeout_s * 1000))
        if self._wake_fd in ready:
            os.eventfd_read(self._wake_fd)
        codes = [client.loop_read()] if waiting or ready.get(sock.fileno(), 0) & ~select.POLLOUT else []
        if client.want_write() and client.socket() is not None:
            codes.append(client.loop_write())
        codes.append(client.loop_misc())
        if self._refusal:
            raise TransportError(self._refusal)
        for code in codes:
            if code != mqtt.MQTT_ERR_SUCCESS:
                raise TransportError(self._why_closed() if code in _CLOSED else mqtt.error_string(code).rstrip("."))

    def _ask(self, client: mqtt.Client) -> None:
        """Subscribe to what this connection has not subscribed to yet."""
        for topic in self._handlers:
            if topic not in self._asked:
                client.subscribe(topic, qos=1)
                self._asked.add(topic)

    def _feed(self, client: mqtt.Client) -> None:
        """Hand paho as much of the outbox as may be in flight."""
        while len(self._sent) < IN_FLIGHT:
            rows = self._outbox.take(IN_FLIGHT - len(self._sent))
            for row in rows:
                try:
                    sent = client.publish(row.topic, row.payload, qos=1, retain=row.retain)
                except ValueError as error:  # a topic or payload MQTT has no room for: it would block the queue for ever
                    self._outbox.ack([row.id])
                    self._tell("message_unsendable", "error", f"{row.topic[:80]}: {error}")
                    continue
                self._sent[sent.mid] = row.id
            if not rows:
                break

    def _say_goodbye(self, client: mqtt.Client) -> None:
        if self._last_words is not None and self._online.is_set():
            last = client.publish(self._will[0], self._last_words, qos=1, retain=True)
            deadline_s = monotonic_s(self._clock) + STOP_S
            while not last.is_published() and monotonic_s(self._clock) < deadline_s:
                self._turn(client, 0.1)
        client.disconnect()
        client.loop_write()

    # Callbacks of paho, on the same thread

    def _on_connect(self, client: mqtt.Client, userdata: object, flags: object, reason: ReasonCode, properties: object) -> None:
        if reason.is_failure:
            self._refusal = f"the broker at {self._where()} refused the connection: {reason}"
            return
        self._ask(client)
        for topic, payload, retain in self._birth():
            client.publish(topic, payload, qos=1, retain=retain)
        self._online.set()
        self._told.clear()
        self._tell("broker_connected", "info", f"connected to the broker at {self._where()}")

    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        for pattern, handler in self._handlers.items():
            if mqtt.topic_matches_sub(pattern, message.topic):
                try:
                    handler(message.topic, bytes(message.payload))
                except Exception as error:
                    self._tell("handler_failed", "error", f"{message.topic[:200]}: {type(error).__name__}: {error}")

    def _on_publish(self, client: mqtt.Client, userdata: object, mid: int, reason: object, properties: object) -> None:
        row_id = self._sent.pop(mid, None)
        if row_id is not None:
            self._outbox.ack([row_id])

    def _on_disconnect(self, client: mqtt.Client, userdata: object, flags: object, reason: ReasonCode, properties: object) -> None:
        self._silent = self._silent or str(reason) == "Keep alive timeout"

    # What to tell

    def _where(self) -> str:
        return f"{self._config.host}:{self._config.port}"

    def _why_closed(self) -> str:
        return f"no sign of life within {self._config.keepalive_s} s" if self._silent else "the other side closed the connection"

    def _lost(self, why: str) -> None:
        """Report a change: the loss of a connection, or a new reason for not getting one. The same again is not news."""
        if self._refusal:
            self._once("broker_refused", "error", self._refusal)
        elif self._online.is_set():
            self._tell("broker_lost", "warning", f"lost the broker at {self._where()}: {why}; messages wait in the outbox")
        else:
            self._once("broker_unreachable", "warning", f"cannot reach the broker at {self._where()}: {why}; trying again")

    def _watch_descriptors(self, fileno: int) -> None:
        if fileno > DESCRIPTORS_HIGH:
            self._once("descriptors_high", "error", f"the agent has about {fileno} files open: it is leaking descriptors")

    def _once(self, kind: str, level: str, message: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._tell(kind, level, message)

    def _tell(self, kind: str, level: str, message: str) -> None:
        self._report(Event(kind, level, message, self._clock.wall_ns()))


def _drop(client: mqtt.Client) -> None:
    """Close the socket of a client that is not needed any more; without a DISCONNECT the broker publishes the will."""
    sock = client.socket()
    if sock is not None:
        sock.close()
