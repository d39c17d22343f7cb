"""Predictions to a serial port, one line each. The standard library's termios is enough for writing, so nothing needs to be installed.

The port is not locked: a source may read the readings of a microcontroller from the same port that tells it the answers.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import termios
import threading
from collections.abc import Mapping
from typing import Any

from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import SinkError
from edge_agent.sinks.lines import FORMATS, Format
from edge_agent.values import Prediction

_DRAIN_S = 0.3
_DRAIN_LOOK_S = 0.01
_CC = 6  # the index of the control characters in what tcgetattr gives


def open_sink(name: str, options: Mapping[str, Any], publish: object = None, *, clock: Clock | None = None) -> SerialSink:
    """A serial sink as the checked ``options`` say: port, baud_rate (115200), format (json), timeout_s (1)."""
    return SerialSink(
        name,
        str(options["port"]),
        int(options.get("baud_rate", 115_200)),
        FORMATS[str(options.get("format", "json"))],
        float(options.get("timeout_s", 1.0)),
        clock or SystemClock(),
    )


class SerialSink:
    """The port is opened at the first line and again after an error. A line that the port does not take within ``timeout_s`` (nobody
    reads a USB port's other end) is a SinkError; after an error an empty line ends what was sent of the last one."""

    def __init__(self, name: str, port: str, baud_rate: int, line_of: Format, timeout_s: float, clock: Clock) -> None:
        self.name = name
        self._port, self._baud_rate, self._line_of, self._timeout_s, self._clock = port, baud_rate, line_of, timeout_s, clock
        self._handle = -1
        self._torn = False

    def emit(self, prediction: Prediction) -> None:
        line = self._line_of(prediction)
        try:
            if self._handle < 0:
                self._open()
            self._write(b"\n" + line if self._torn else line)
        except (OSError, termios.error) as error:
            self._torn = self._torn or self._handle >= 0  # what the kernel still held is thrown away, in the middle of a line or not
            self._abandon()
            reason = error.args[1] if len(error.args) > 1 else error
            if error.args[:1] == (errno.ENOTTY,):
                reason = "it is not a serial port"
            raise SinkError(f"sink {self.name}: {self._port}: cannot be written ({reason})") from error
        self._torn = False

    def flush(self) -> None:
        """The kernel sends what it has."""

    def close(self) -> None:
        """Gives the port a moment to send what the kernel holds; closing would wait for it half a minute."""
        if self._handle >= 0:
            pause, looks = threading.Event(), int(_DRAIN_S / _DRAIN_LOOK_S)
            while looks and self._unsent():
                pause.wait(_DRAIN_LOOK_S)
                looks -= 1
            self._abandon()

    def _open(self) -> None:
        handle = os.open(self._port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _make_raw(handle, self._baud_rate)
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle

    def _write(self, data: bytes) -> None:
        """Raises OSError, also after a part."""
        ends_ns = self._clock.monotonic_ns() + int(self._timeout_s * 1e9)
        poll = select.poll()
        poll.register(self._handle, select.POLLOUT)
        while data:
            left_ms = (ends_ns - self._clock.monotonic_ns()) / 1e6
            events = poll.poll(max(0.0, left_ms))
            if not events:
                raise TimeoutError(0, f"it took not all of a line in {self._timeout_s:g} s")
            if events[0][1] & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                raise OSError(0, "hung up")
            try:
                written = os.write(self._handle, data)
            except BlockingIOError:
                continue
            data = data[written:]

    def _abandon(self) -> None:
        handle, self._handle = self._handle, -1
        if handle < 0:
            return
        try:
            termios.tcflush(handle, termios.TCOFLUSH)
        except (OSError, termios.error):  # it is gone
            pass
        os.close(handle)

    def _unsent(self) -> int:
        try:
            (count,) = struct.unpack("i", fcntl.ioctl(self._handle, termios.TIOCOUTQ, b"\0" * 4))
        except OSError:
            return 0
        return int(count)


def _make_raw(handle: int, baud_rate: int) -> None:
    """Eight bits, no parity, one stop bit, no flow control, bytes as they are."""
    attributes = termios.tcgetattr(handle)
    speed = getattr(termios, f"B{baud_rate}")
    kept = attributes[2] & termios.HUPCL
    control = list(attributes[_CC])
    control[termios.VMIN], control[termios.VTIME] = 0, 0
    termios.tcsetattr(handle, termios.TCSANOW, [0, 0, kept | termios.CS8 | termios.CREAD | termios.CLOCAL, 0, speed, speed, control])
