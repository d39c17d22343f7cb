"""A sensor on a serial port that sends one reading a line, CSV or JSON. Needs pyserial (the ``serial`` extra)."""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Mapping
from typing import Any

from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import RuntimeMissing, SourceError
from edge_agent.sources.framing import Framing, choose_framing, fields_of
from edge_agent.sources.lines import LineBuffer
from edge_agent.values import Sample

_READ_BYTES = 4096


def open_source(name: str, options: Mapping[str, Any], inbox: object = None, *, clock: Clock | None = None) -> SerialSource:
    """A serial source as the checked ``options`` say: port, baud_rate (115200), framing (csv), fields, max_line_bytes (4096)."""
    return SerialSource(
        name,
        str(options["port"]),
        int(options.get("baud_rate", 115_200)),
        LineBuffer(int(options.get("max_line_bytes", 4096))),
        choose_framing(str(options.get("framing", "csv")), fields_of(options)),
        clock or SystemClock(),
    )


class SerialSource:
    """Reads lines from a port. Lines that hold no reading are counted in ``garbage``; an unplugged port is a SourceError."""

    def __init__(self, name: str, port: str, baud_rate: int, lines: LineBuffer, framing: Framing, clock: Clock) -> None:
        self.name = name
        self._garbage = 0
        self._port, self._baud_rate, self._lines, self._framing, self._clock = port, baud_rate, lines, framing, clock
        self._serial: Any = None
        self._ready: deque[Sample] = deque()
        self._seq = 0

    @property
    def garbage(self) -> int:
        """Lines so far that held no reading or were too long."""
        return self._garbage + self._lines.too_long

    def open(self) -> None:
        self.close()
        try:
            import serial
        except ImportError:
            raise RuntimeMissing("pyserial is not installed: pip install 'edge-runtime[serial]'") from None
        try:
            self._serial = serial.Serial(self._port, self._baud_rate, timeout=0, exclusive=True)
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise SourceError(f"source {self.name}: {self._port} cannot be opened ({error})") from error
        self._lines.reset()

    def read(self, timeout_s: float) -> Sample | None:
        if self._serial is None:
            raise SourceError(f"source {self.name}: {self._port} is not open")
        deadline_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        left_ns = deadline_ns - self._clock.monotonic_ns()
        while not self._ready:
            data = self._receive(max(0, left_ns) / 1e6)
            self._take(data)
            left_ns = deadline_ns - self._clock.monotonic_ns()
            if not data or left_ns <= 0:  # out of time, perhaps through noise that never ends
                break
        return self._ready.popleft() if self._ready else None

    def close(self) -> None:
        port, self._serial = self._serial, None
        if port is not None:
            try:
                port.close()
            except OSError:  # already gone
                pass

    def _receive(self, timeout_ms: float) -> bytes:
        """What has arrived, waiting at most ``timeout_ms`` for it. poll, unlike select, works beyond descriptor 1024."""
        try:
            poller = select.poll()
            poller.register(self._serial.fileno(), select.POLLIN)
            events = poller.poll(timeout_ms)
            if not events:
                return b""
            data = bytes(self._serial.read(_READ_BYTES))
        except (OSError, ValueError, TypeError) as error:  # TypeError: pyserial, when closed while reading
            self.close()
            raise SourceError(f"source {self.name}: {self._port} was lost ({error})") from error
        if not data:  # readable, yet nothing there: the other side hung up
            self.close()
            raise SourceError(f"source {self.name}: {self._port} was lost (hung up)")
        return data

    def _take(self, data: bytes) -> None:
        now_ns = self._clock.monotonic_ns()
        for line in self._lines.feed(data):
            reading = self._framing(line) if line else None
            if reading is not None:
                self._ready.append(Sample(self.name, self._seq, now_ns, reading.values, reading.label))
                self._seq += 1
            elif line:
                self._garbage += 1
