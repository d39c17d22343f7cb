"""One output line of a GPIO chip, through the kernel's character device (uAPI version 2, Linux 5.10 and later).

Spoken to by ioctl and not through libgpiod: the structures are a stable kernel interface (``linux/gpio.h``), while libgpiod's Python
binding is another package with another API in each of its two versions and has no wheel for every board.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import Protocol

GET_CHIPINFO = 0x8044B401
GET_LINEINFO = 0xC100B405
GET_LINE = 0xC250B407
SET_VALUES = 0xC010B40F

FLAG_ACTIVE_LOW = 1 << 1
FLAG_OUTPUT = 1 << 3
ATTRIBUTE_VALUES = 2

CHIP_INFO = struct.Struct("=32s32sI")
"""struct gpiochip_info: name, label, lines."""
LINE_INFO = struct.Struct("=32s32sIIQ160s16s")
"""struct gpio_v2_line_info: name, consumer, offset, num_attrs, flags, attrs, padding."""
LINE_REQUEST = struct.Struct("=I252s32sQI20sIIQQ216sII20si")
"""struct gpio_v2_line_request: offsets[0] and the other 63; consumer; config: flags, num_attrs, padding, attrs[0] (id, padding, value,
mask) and the other nine; num_lines, event_buffer_size, padding, fd."""
LINE_VALUES = struct.Struct("=QQ")
"""struct gpio_v2_line_values: bits, mask."""


class Device(Protocol):
    """The system calls a line needs."""

    def open(self, path: str) -> int: ...

    def ioctl(self, handle: int, request: int, data: bytearray) -> None:
        """``data`` is read and written by the kernel. Raises OSError."""
        ...

    def close(self, handle: int) -> None: ...

    def chips(self) -> list[str]:
        """Paths of every chip."""
        ...


class KernelDevice:
    """The real ones."""

    def open(self, path: str) -> int:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def ioctl(self, handle: int, request: int, data: bytearray) -> None:
        fcntl.ioctl(handle, request, data, True)

    def close(self, handle: int) -> None:
        os.close(handle)

    def chips(self) -> list[str]:
        return sorted(str(path) for path in Path("/dev").glob("gpiochip*"))


class GpioLine:
    """A requested output line: nobody else can drive it until :meth:`close`. Raises OSError."""

    def __init__(self, device: Device, chip: str, line: int | str, *, active_low: bool, consumer: str, active: bool) -> None:
        """``chip``: ``gpiochip0``, a path, or a chip's label; ``line``: its offset or name. It begins in the state ``active``, without
        a moment in the other one."""
        self._device = device
        handle = _open_chip(device, chip)
        try:
            offset = line if isinstance(line, int) else _offset(device, handle, line)
            flags = FLAG_OUTPUT | (FLAG_ACTIVE_LOW if active_low else 0)
            request = bytearray(
                LINE_REQUEST.pack(
                    offset, b"", consumer.encode()[:31], flags, 1, b"", ATTRIBUTE_VALUES, 0, int(active), 1, b"", 1, 0, b"", 0
                )
            )
            device.ioctl(handle, GET_LINE, request)
        finally:
            device.close(handle)
        self._handle = int(LINE_REQUEST.unpack(request)[-1])

    def set(self, active: bool) -> None:
        """Drive the line; ``active`` is a low level where the line is active low."""
        self._device.ioctl(self._handle, SET_VALUES, bytearray(LINE_VALUES.pack(int(active), 1)))

    def close(self) -> None:
        """Give the line back."""
        self._device.close(self._handle)


def _open_chip(device: Device, chip: str) -> int:
    if chip.startswith("/"):
        return device.open(chip)
    path = f"/dev/{chip}"
    known = device.chips()
    if path in known:
        return device.open(path)
    for candidate in known:
        handle = device.open(candidate)
        info = bytearray(CHIP_INFO.size)
        try:
            device.ioctl(handle, GET_CHIPINFO, info)
        except OSError:
            device.close(handle)
            continue
        if _text(CHIP_INFO.unpack(info)[1]) == chip:
            return handle
        device.close(handle)
    raise OSError(0, f"no chip is called {chip}; there {'is' if len(known) == 1 else 'are'} {', '.join(known) or 'none'}")


def _offset(device: Device, handle: int, name: str) -> int:
    info = bytearray(CHIP_INFO.size)
    device.ioctl(handle, GET_CHIPINFO, info)
    for offset in range(CHIP_INFO.unpack(info)[2]):
        line = bytearray(LINE_INFO.pack(b"", b"", offset, 0, 0, b"", b""))
        device.ioctl(handle, GET_LINEINFO, line)
        if _text(LINE_INFO.unpack(line)[0]) == name:
            return offset
    raise OSError(0, f"the chip has no line called {name}")


def _text(padded: bytes) -> str:
    return padded.split(b"\0", 1)[0].decode(errors="replace")
