"""A sensor that publishes readings over MQTT. The connection is not opened here: messages come through an inbox that the agent fills."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from edge_agent.clock import Clock, SystemClock, monotonic_s
from edge_agent.errors import SourceError
from edge_agent.ports import NEVER_NS
from edge_agent.sources.framing import Framing, Reading, choose_framing, fields_of
from edge_agent.values import Sample


class Inbox(Protocol):
    """Messages of the topic this source subscribed to, as (topic, payload); ``None`` when none came in time."""

    def get(self, timeout_s: float) -> tuple[str, bytes] | None: ...

    def __len__(self) -> int: ...


def open_source(name: str, options: Mapping[str, Any], inbox: Inbox | None, *, clock: Clock | None = None) -> MqttSource:
    """An MQTT source as the checked ``options`` say: topic, framing (auto), fields, max_payload_bytes (1 MiB)."""
    return MqttSource(
        name,
        str(options["topic"]),
        inbox,
        choose_framing(str(options.get("framing", "auto")), fields_of(options)),
        int(options.get("max_payload_bytes", 1 << 20)),
        clock or SystemClock(),
    )


class MqttSource:
    """Each message is one sample, timed when it is taken from the inbox. Payloads that hold no reading are counted in ``garbage``."""

    def __init__(self, name: str, topic: str, inbox: Inbox | None, framing: Framing, max_payload_bytes: int, clock: Clock) -> None:
        self.name = name
        self.topic = topic
        self.garbage = 0
        self._inbox, self._framing, self._max, self._clock = inbox, framing, max_payload_bytes, clock
        self._seq = 0

    def open(self) -> None:
        if self._inbox is None:
            raise SourceError(f"source {self.name}: needs the MQTT connection, and the configuration has no [mqtt] host")

    @property
    def paced(self) -> bool:
        return True

    @property
    def period_ns(self) -> int:
        return 0

    def next_ns(self) -> int:
        return 0 if self._inbox else NEVER_NS

    def read(self, timeout_s: float) -> Sample | None:
        if self._inbox is None:
            raise SourceError(f"source {self.name}: has no MQTT connection")
        deadline_s = monotonic_s(self._clock) + timeout_s
        left_s = timeout_s
        while True:
            message = self._inbox.get(left_s)
            if message is None:
                return None
            payload = message[1]
            reading = self._framing(payload) if len(payload) <= self._max else None
            if reading is not None:
                return self._sample(reading)
            self.garbage += 1
            left_s = deadline_s - monotonic_s(self._clock)
            if left_s <= 0:  # a flood of garbage must not keep the reader from its other work
                return None

    def _sample(self, reading: Reading) -> Sample:
        sample = Sample(self.name, self._seq, self._clock.monotonic_ns(), reading.values, reading.label)
        self._seq += 1
        return sample

    def close(self) -> None:
        """Nothing is held here."""
