"""An IIO device as sysfs shows it. Source: Linux, Documentation/ABI/testing/sysfs-bus-iio. Every OSError is let through."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_agent.sources.iio_scan import ScanElement, parse_type

DEVICES = "sys/bus/iio/devices"
TIMESTAMP = "timestamp"


@dataclass(frozen=True, slots=True)
class IioDevice:
    """``folder`` in sysfs and ``node``, the character device of its buffer."""

    folder: Path
    node: Path

    def polled_channels(self) -> tuple[str, ...]:
        """Channels with a value to read, by name."""
        names = {file.name[3:].rsplit("_", 1)[0] for file in self.folder.glob("in_*") if file.name.endswith(("_raw", "_input"))}
        return tuple(sorted(names, key=_natural))

    def scanned_channels(self) -> tuple[str, ...]:
        """Channels that the buffer can hold, in its order, without the time."""
        found = [(int(self.read(file)), file.name[3:-6]) for file in self._scan_folder().glob("in_*_index")]
        return tuple(name for _, name in sorted(found) if name != TIMESTAMP)

    def value_file(self, channel: str) -> tuple[Path, bool]:
        """The file with the channel's value, and whether that is raw."""
        raw = self.folder / f"in_{channel}_raw"
        return (
            (raw, True)
            if raw.exists() or not (self.folder / f"in_{channel}_input").exists()
            else (self.folder / f"in_{channel}_input", False)
        )

    def conversion(self, channel: str) -> tuple[float, float]:
        """``offset`` and ``scale``: (raw + offset) * scale is the value in the unit of the channel's kind."""
        return self._shared_number(channel, "offset", 0.0), self._shared_number(channel, "scale", 1.0)

    def element(self, channel: str) -> ScanElement:
        """How the buffer holds a channel. Raises ValueError for a form that cannot be read."""
        folder = self._scan_folder()
        return ScanElement(channel, int(self.read(folder / f"in_{channel}_index")), parse_type(self.read(folder / f"in_{channel}_type")))

    def enable_only(self, channels: tuple[str, ...]) -> None:
        """Which channels the buffer will hold."""
        folder = self._scan_folder()
        for file in sorted(folder.glob("in_*_en")):
            wanted = file.name[3:-3] in channels
            if self.read(file) != str(int(wanted)):
                write(file, str(int(wanted)))

    def buffer_file(self, name: str) -> Path:
        return self.folder / "buffer" / name

    def rate_file(self) -> Path | None:
        """Where the pace of the sensor is said, for all channels or for one kind of them."""
        here = [self.folder / "sampling_frequency", *sorted(self.folder.glob("in_*sampling_frequency"))]
        return next((file for file in here if file.exists()), None)

    @staticmethod
    def read(file: Path) -> str:
        return file.read_text(encoding="ascii", errors="replace").strip()

    def _scan_folder(self) -> Path:
        legacy = self.folder / "scan_elements"
        return legacy if legacy.is_dir() else self.folder / "buffer0"

    def _shared_number(self, channel: str, what: str, default: float) -> float:
        for name in _shares(channel):
            file = self.folder / f"in_{name}_{what}"
            if file.exists():
                return float(self.read(file))
        return default


def find_device(root: Path, device: str | int) -> IioDevice | None:
    """By number, by ``iio:deviceN``, or by what its ``name`` or ``label`` says; the lowest number when several say so."""
    wanted = f"iio:device{device}" if isinstance(device, int) else device
    for folder in sorted((root / DEVICES).glob("iio:device*"), key=lambda folder: _natural(folder.name)):
        if folder.name == wanted or wanted in _names(folder):
            return IioDevice(folder, root / "dev" / folder.name)
    return None


def write(file: Path, text: str) -> None:
    """One write, as sysfs wants it."""
    fd = os.open(file, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _names(folder: Path) -> Iterator[str]:
    for word in ("name", "label"):
        try:
            yield IioDevice.read(folder / word)
        except OSError:
            pass


def _shares(channel: str) -> Iterator[str]:
    """Whose numbers may count for a channel: its own, then those of its kind: ``accel_x``, ``accel``; ``voltage0``, ``voltage``."""
    words = channel.split("_")
    for count in range(len(words), 0, -1):
        name = "_".join(words[:count])
        yield name
        if re.search(r"\d", name):
            yield re.sub(r"\d+", "", name)


def _natural(name: str) -> tuple[tuple[str, int], ...]:
    """So that voltage2 comes before voltage10."""
    return tuple((word, int(digits or 0)) for word, digits in re.findall(r"(\D*)(\d*)", name))
