"""A sensor over MQTT: messages in, samples out."""

from __future__ import annotations

from collections import deque

import pytest

from edge_agent.clock import ManualClock
from edge_agent.errors import SourceError
from edge_agent.sources.mqtt import open_source


class Inbox:
    """Messages waiting; ``get`` uses up its timeout on the clock when there is none."""

    def __init__(self, clock: ManualClock, *payloads: bytes) -> None:
        self._clock = clock
        self.waiting = deque(payloads)

    def get(self, timeout_s: float) -> tuple[str, bytes] | None:
        if self.waiting:
            return "sensors/a", self.waiting.popleft()
        self._clock.advance_s(timeout_s)
        return None


def test_messages_become_samples_in_every_spelling() -> None:
    clock = ManualClock()
    source = open_source("s", {"topic": "sensors/a"}, Inbox(clock, b"[1, 2]", b'{"values": [3, 4], "label": 1}', b"5,6"), clock=clock)
    source.open()
    samples = [source.read(1.0) for _ in range(3)]
    assert [(sample.seq, sample.values, sample.label) for sample in samples if sample] == [
        (0, (1, 2), None),
        (1, (3, 4), 1),
        (2, (5, 6), None),
    ]
    assert source.read(0.5) is None
    assert clock.monotonic_ns() == 500_000_000


def test_garbage_is_counted_and_costs_no_sample_number() -> None:
    clock = ManualClock()
    inbox = Inbox(clock, b"hello", b"[1]", b"[" + b"1," * 40 + b"1]", b"", b"[2]")
    source = open_source("s", {"topic": "t", "max_payload_bytes": 32}, inbox, clock=clock)
    samples = [source.read(1.0), source.read(1.0), source.read(1.0)]
    assert [sample and (sample.seq, sample.values) for sample in samples] == [(0, (1,)), (1, (2,)), None]
    assert source.garbage == 3


def test_a_flood_of_garbage_does_not_hold_the_reader_beyond_its_time() -> None:
    clock = ManualClock()

    class Flood(Inbox):
        def get(self, timeout_s: float) -> tuple[str, bytes] | None:
            clock.advance_s(0.01)
            assert clock.monotonic_ns() < 2_000_000_000, "the reader is held"
            return "t", b"noise"

    source = open_source("s", {"topic": "t"}, Flood(clock), clock=clock)
    assert source.read(1.0) is None
    assert clock.monotonic_ns() < 1_100_000_000


def test_without_a_broker_it_says_so() -> None:
    with pytest.raises(SourceError, match=r"\[mqtt\] host"):
        open_source("s", {"topic": "t"}, None).open()
