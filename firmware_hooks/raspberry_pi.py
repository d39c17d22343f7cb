"""Raspberry Pi: what the firmware says of voltage, frequency and heat.

The throttled word has one bit for now and one for "since boot" of each condition (Raspberry Pi documentation, vcgencmd
get_throttled). The kernel offers it in sysfs; where it does not, ``vcgencmd`` asks the firmware; where that is
not allowed either, the rpi_volt hwmon chip still tells about under-voltage.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from firmware_hooks.board_tool import ask_tool
from firmware_hooks.generic_linux import GenericLinux
from firmware_hooks.sysfs import numbered, read_int, read_line

_CONDITIONS = ("under-voltage", "frequency-capped", "throttled", "soft-temperature-limit")
_SINCE_BOOT_SHIFT = 16


@dataclass(frozen=True, slots=True)
class Throttled:
    """The throttled word decoded: conditions in force ``now`` (bits 0-3) and those seen ``since_boot`` (bits 16-19)."""

    now: tuple[str, ...]
    since_boot: tuple[str, ...]


def decode_throttled(word: int) -> Throttled:
    """``0x50005``: under-voltage and throttled, now and since boot. Unknown bits are ignored."""
    return Throttled(
        now=tuple(name for bit, name in enumerate(_CONDITIONS) if word >> bit & 1),
        since_boot=tuple(name for bit, name in enumerate(_CONDITIONS) if word >> (bit + _SINCE_BOOT_SHIFT) & 1),
    )


class RaspberryPi(GenericLinux):
    """A reader for every Raspberry Pi. ``search_path`` replaces PATH when looking for ``vcgencmd``."""

    def __init__(self, root: Path = Path("/"), *, search_path: str | None = None) -> None:
        super().__init__(root)
        self._word_file = root / "sys/devices/platform/soc/soc:firmware/get_throttled"
        self._search_path = search_path

    def throttling(self) -> tuple[str, ...] | None:
        """Conditions in force now, from the best source that answers."""
        throttled = self.throttled()
        if throttled is not None:
            return throttled.now
        return self._under_voltage()

    def throttled(self) -> Throttled | None:
        """The whole word, now and since boot; None when neither kernel nor firmware tell it."""
        word = read_int(self._word_file, base=16)
        if word is None:
            word = self._ask_firmware()
        return None if word is None else decode_throttled(word)

    def _ask_firmware(self) -> int | None:
        answer = ask_tool("vcgencmd", "get_throttled", search_path=self._search_path)
        match = re.fullmatch(r"throttled=(0x[0-9a-fA-F]{1,8})", (answer or "").strip())
        return int(match.group(1), 16) if match else None

    def _under_voltage(self) -> tuple[str, ...] | None:
        for chip in numbered(self._hwmon, "hwmon"):
            alarm = read_int(chip / "in0_lcrit_alarm") if read_line(chip / "name") == "rpi_volt" else None
            if alarm is not None:
                return ("under-voltage",) if alarm else ()
        return None
