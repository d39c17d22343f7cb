"""Sensors of Linux's Industrial I/O: accelerometers, gyroscopes, ADCs, light, temperature. Read one by one, or from the kernel's buffer."""

from __future__ import annotations

import os
import select
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import SourceError
from edge_agent.sources.alarm import Alarm
from edge_agent.sources.iio_device import IioDevice, find_device, write
from edge_agent.sources.iio_scan import ScanLayout, decode, lay_out
from edge_agent.sources.row_clock import RowClock
from edge_agent.values import Sample

IIO_MODES = ("polled", "buffered")
_MOST_VALUE_BYTES = 64


def open_source(
    name: str, options: Mapping[str, Any], inbox: object = None, *, clock: Clock | None = None
) -> PolledIioSource | BufferedIioSource:
    """As the checked ``options`` say: device, channels (all), mode (polled), rate_hz (polled 10; buffered: as the device is set), root (/);
    buffered also: buffer_length (1024), watermark (as the device is set), trigger (as the device is set)."""
    kind = BufferedIioSource if options.get("mode", "polled") == "buffered" else PolledIioSource
    return kind(name, options, clock or SystemClock())


class _IioSource:
    """What both ways share: finding the device, and naming what fails."""

    def __init__(self, name: str, options: Mapping[str, Any], clock: Clock) -> None:
        self.name = name
        self.garbage = 0
        self._options, self._clock = options, clock
        self._seq = 0

    def _find(self) -> IioDevice:
        wanted = self._options["device"]
        root = Path(str(self._options.get("root", "/")))
        device = find_device(root, wanted)
        if device is None:
            raise SourceError(f"source {self.name}: no IIO device {wanted!r} under {root / 'sys/bus/iio/devices'}")
        return device

    def _channels(self, there: tuple[str, ...], folder: Path) -> tuple[str, ...]:
        wanted = tuple(self._options.get("channels", ())) or there
        missing = [channel for channel in wanted if channel not in there]
        if missing or not wanted:
            has = ", ".join(there) or "none"
            raise SourceError(f"source {self.name}: {folder} has no channel {', '.join(missing) or 'to read'}; it has {has}")
        return wanted

    def _lost(self, device: IioDevice, error: Exception) -> SourceError:
        return SourceError(f"source {self.name}: {device.folder.name} cannot be read ({error})")


class PolledIioSource(_IioSource):
    """Reads each channel's value at an even pace. One sample holds all channels, in the order of ``channels``, as (raw + offset) * scale.

    A reader that is late does not catch up: the readings it missed are missing in the numbering.
    """

    def __init__(self, name: str, options: Mapping[str, Any], clock: Clock) -> None:
        super().__init__(name, options, clock)
        self._period_ns = round(1e9 / float(options.get("rate_hz", 10.0)))
        self._device: IioDevice | None = None
        self._fds: list[int] = []
        self._conversions: list[tuple[float, float]] = []
        self._due_ns = 0
        self._alarm = Alarm()

    def open(self) -> None:
        self.close()
        self._alarm.clear()
        device = self._find()
        try:
            for channel in self._channels(device.polled_channels(), device.folder):
                file, raw = device.value_file(channel)
                self._conversions.append(device.conversion(channel) if raw else (0.0, 1.0))
                self._fds.append(os.open(file, os.O_RDONLY | os.O_CLOEXEC))
        except (OSError, ValueError) as error:
            self.close()
            raise self._lost(device, error) from error
        self._device, self._due_ns = device, self._clock.monotonic_ns()

    def read(self, timeout_s: float) -> Sample | None:
        if self._device is None:
            raise SourceError(f"source {self.name}: the device is not open")
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._due_ns:
            self._alarm.wait(min((self._due_ns - now_ns) / 1e9, timeout_s))
            now_ns = self._clock.monotonic_ns()
            if now_ns < self._due_ns:
                return None
        missed = (now_ns - self._due_ns) // self._period_ns
        self._seq += missed
        self._due_ns += (missed + 1) * self._period_ns
        try:
            values = tuple((_number(fd) + offset) * scale for fd, (offset, scale) in zip(self._fds, self._conversions, strict=True))
        except (OSError, ValueError) as error:
            device = self._device
            self.close()
            raise self._lost(device, error) from error
        self._seq += 1
        return Sample(self.name, self._seq - 1, now_ns, values)

    def close(self) -> None:
        self._alarm.ring()
        self._device = None
        self._conversions.clear()
        while self._fds:
            os.close(self._fds.pop())


class BufferedIioSource(_IioSource):
    """Takes what the kernel collected: blocks float32 (rows, channels), in the order of ``channels``, as (raw + offset) * scale."""

    def __init__(self, name: str, options: Mapping[str, Any], clock: Clock) -> None:
        super().__init__(name, options, clock)
        self._device: IioDevice | None = None
        self._fd = -1
        self._rest = b""
        self._layout: ScanLayout | None = None
        self._order: list[int] = []
        self._offset: Any = None
        self._scale: Any = None
        self._rows = RowClock(0.0, clock)

    def open(self) -> None:
        self.close()
        device = self._find()
        try:
            self._prepare(device)
            self._fd = os.open(device.node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._device = device
            write(device.buffer_file("enable"), "1")
        except (OSError, ValueError) as error:
            self.close()
            raise self._lost(device, error) from error

    def read(self, timeout_s: float) -> Sample | None:
        if self._device is None or self._layout is None:
            raise SourceError(f"source {self.name}: the device is not open")
        try:
            data = self._rest + self._receive(self._layout, timeout_s)
        except (OSError, EOFError) as error:
            device = self._device
            self.close()
            raise self._lost(device, error) from error
        whole = len(data) - len(data) % self._layout.scan_bytes
        self._rest = data[whole:]
        return self._sample(self._layout, data[:whole]) if whole else None

    def close(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            try:
                write(device.buffer_file("enable"), "0")
            except OSError:  # unplugged
                pass
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        self._rest = b""

    def _prepare(self, device: IioDevice) -> None:
        """Channels, pace and size can only be changed while the buffer is off."""
        import numpy as np

        options = self._options
        channels = self._channels(device.scanned_channels(), device.folder)
        write(device.buffer_file("enable"), "0")
        if "trigger" in options:
            write(device.folder / "trigger" / "current_trigger", str(options["trigger"]))
        self._rows = RowClock(self._set_rate(device), self._clock)
        device.enable_only(channels)
        self._layout = lay_out([device.element(channel) for channel in channels])
        write(device.buffer_file("length"), str(options.get("buffer_length", 1024)))
        if "watermark" in options:
            write(device.buffer_file("watermark"), str(options["watermark"]))
        scanned = [element.channel for element in self._layout.elements]
        self._order = [scanned.index(channel) for channel in channels]
        conversions = np.array([device.conversion(channel) for channel in channels])
        self._offset, self._scale = conversions[:, 0], conversions[:, 1]

    def _set_rate(self, device: IioDevice) -> float:
        """The pace in scans a second, 0 when nothing says it."""
        file = device.rate_file()
        asked = float(self._options.get("rate_hz", 0.0))
        if file is None:
            return asked
        if asked:
            write(file, f"{asked:g}")
        return float(device.read(file))

    def _receive(self, layout: ScanLayout, timeout_s: float) -> bytes:
        """What the buffer holds once it reaches the watermark, or when the time is up. Raises OSError; EOFError when it is gone."""
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        poller.poll(timeout_s * 1000)
        try:
            data = os.read(self._fd, layout.scan_bytes * int(self._options.get("buffer_length", 1024)))
        except BlockingIOError:
            return b""
        if not data:
            raise EOFError("its buffer was closed")
        return data

    def _sample(self, layout: ScanLayout, whole: bytes) -> Sample:
        import numpy as np

        raw = decode(layout, whole)[:, self._order]
        values = ((raw + self._offset) * self._scale).astype(np.float32)
        rows = len(values)
        sample = Sample(self.name, self._seq, self._rows.stamp(rows), values if rows > 1 else values[0], None, rows, self._rows.period_ns)
        self._seq += rows
        return sample


def _number(fd: int) -> float:
    """The value in a sysfs file that is kept open: each read from its beginning asks the sensor anew. Raises OSError, ValueError."""
    return float(os.pread(fd, _MOST_VALUE_BYTES, 0))
