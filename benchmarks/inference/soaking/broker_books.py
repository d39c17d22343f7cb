"""What reached a subscriber that never lets go of its session."""

from __future__ import annotations

import json
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.inference.soaking.numbered import MOST, number_of


class Subscriber:
    """Marks the number of every prediction that comes; comes back by itself when the broker was away."""

    def __init__(self, port: int) -> None:
        self.seen = bytearray(MOST)
        self.messages = 0
        self.strange: list[str] = []
        self.subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="soak-subscriber", clean_session=False, protocol=mqtt.MQTTv311)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("edge/v1/#", qos=1)
        self._client.on_subscribe = lambda *_: self.subscribed.set()
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port, keepalive=10)
        self._client.loop_start()

    def _take(self, client: object, data: object, message: mqtt.MQTTMessage) -> None:
        tree = json.loads(message.payload)
        if "window_seq" not in tree:
            return
        self.messages += 1
        try:
            self.seen[number_of(tree["scores"])] = 1
        except (IndexError, KeyError, ValueError, TypeError) as error:
            self.strange.append(f"{type(error).__name__}: {message.payload[:200]!r}")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
