"""Streams of bytes to samples: lines of text, raw records, or messages that say their length first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from edge_agent.clock import Clock
from edge_agent.errors import SourceError
from edge_agent.sources.framing import Framing, choose_framing, fields_of
from edge_agent.sources.lines import LineBuffer
from edge_agent.sources.records import RecordForm, RecordReader
from edge_agent.values import Sample

STREAM_FRAMINGS = ("auto", "csv", "json", "raw", "prefixed")
_PREFIX_BYTES = 4
_MAX_MESSAGE_BYTES = 1 << 20
_MAX_LINE_BYTES = 1 << 16


class Decoder(Protocol):
    """Bytes in, samples out, numbered from 0 for as long as it lives."""

    @property
    def garbage(self) -> int:
        """Pieces so far that held no reading."""
        ...

    def reset(self) -> None:
        """The stream was cut; what is half there will not be completed."""
        ...

    def feed(self, data: bytes) -> None:
        """Raises SourceError when the stream cannot be followed any longer."""
        ...

    def pop(self) -> Sample | None:
        """The next sample that is complete."""
        ...


def choose_decoder(name: str, options: Mapping[str, Any], clock: Clock) -> Decoder:
    """As the checked ``options`` say: framing (auto), fields, max_line_bytes; dtype, shape, byte_order, rate_hz; max_message_bytes."""
    framing = str(options.get("framing", "auto"))
    if framing == "raw":
        return RawDecoder(RecordReader(name, RecordForm.of(options), clock))
    if framing == "prefixed":
        most = int(options.get("max_message_bytes", _MAX_MESSAGE_BYTES))
        if "dtype" in options:
            records = RecordReader(name, RecordForm.of(options), clock)
            return PrefixedDecoder(most, records.take_whole)
        texts = _Texts(name, choose_framing("auto", fields_of(options)), clock)
        return PrefixedDecoder(most, texts.take)
    lines = LineBuffer(int(options.get("max_line_bytes", _MAX_LINE_BYTES)), torn_start=False)
    return LineDecoder(lines, _Texts(name, choose_framing(framing, fields_of(options)), clock))


def next_sample(decoder: Decoder, receive: Callable[[float], bytes], clock: Clock, timeout_s: float) -> Sample | None:
    """The decoder's next sample, fed with what ``receive(timeout_ms)`` gives, within ``timeout_s``. A flood of garbage does not hold it."""
    sample = decoder.pop()
    if sample is not None:
        return sample
    deadline_ns = clock.monotonic_ns() + int(timeout_s * 1e9)
    left_ns = int(timeout_s * 1e9)
    while True:
        data = receive(max(0, left_ns) / 1e6)
        if data:
            decoder.feed(data)
            sample = decoder.pop()
        left_ns = deadline_ns - clock.monotonic_ns()
        if sample is not None or left_ns <= 0:
            return sample


class _Texts:
    """Text records to numbered samples, timed when they came."""

    def __init__(self, name: str, framing: Framing, clock: Clock) -> None:
        self._name, self._framing, self._clock = name, framing, clock
        self._seq = 0

    def take(self, record: bytes) -> Sample | None:
        reading = self._framing(record)
        if reading is None:
            return None
        self._seq += 1
        return Sample(self._name, self._seq - 1, self._clock.monotonic_ns(), reading.values, reading.label)


class LineDecoder:
    """One reading a line; empty lines are nothing."""

    def __init__(self, lines: LineBuffer, texts: _Texts) -> None:
        self._lines, self._texts = lines, texts
        self._ready: deque[Sample] = deque()
        self._refused = 0

    @property
    def garbage(self) -> int:
        return self._refused + self._lines.too_long

    def reset(self) -> None:
        self._lines.reset()

    def feed(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            sample = self._texts.take(line) if line else None
            if sample is not None:
                self._ready.append(sample)
            elif line:
                self._refused += 1

    def pop(self) -> Sample | None:
        return self._ready.popleft() if self._ready else None


class RawDecoder:
    """Records of a fixed size, one after the other, nothing between."""

    garbage = 0

    def __init__(self, records: RecordReader) -> None:
        self._records = records

    def reset(self) -> None:
        self._records.reset()

    def feed(self, data: bytes) -> None:
        self._records.feed(data)

    def pop(self) -> Sample | None:
        return self._records.pop()


class PrefixedDecoder:
    """Messages, each after its length: 4 bytes, the high one first. A length that cannot be is a SourceError: the rest is lost."""

    def __init__(self, max_message_bytes: int, take: Callable[[bytes], Sample | None]) -> None:
        self._max, self._take = max_message_bytes, take
        self._rest = bytearray()
        self.garbage = 0

    def reset(self) -> None:
        self._rest.clear()

    def feed(self, data: bytes) -> None:
        self._rest += data

    def pop(self) -> Sample | None:
        while (message := self._next()) is not None:
            sample = self._take(message)
            if sample is not None:
                return sample
            self.garbage += 1
        return None

    def _next(self) -> bytes | None:
        if len(self._rest) < _PREFIX_BYTES:
            return None
        size = int.from_bytes(self._rest[:_PREFIX_BYTES], "big")
        if not 0 < size <= self._max:
            self.garbage += 1
            raise SourceError(f"sent a message that says it has {size} bytes, 1 to {self._max} are allowed")
        end = _PREFIX_BYTES + size
        if len(self._rest) < end:
            return None
        message = bytes(self._rest[_PREFIX_BYTES:end])
        del self._rest[:end]
        return message
