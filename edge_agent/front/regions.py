"""System shared memory that clients register (Triton's extension): tensors that never pass through the socket.

A region is a POSIX shared-memory object of the same machine, named by its key: one path component under /dev/shm, a regular file, never
a link, and never larger than the object is. It is read and written by descriptor, not mapped: a client that cuts its object short while
it is in use would end a process that has it mapped.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.front.http_head import HttpError

FOLDER = Path("/dev/shm")
MOST = 64
_KEY = re.compile(r"/?([A-Za-z0-9_][A-Za-z0-9._-]{0,250})")


@dataclass(frozen=True, slots=True)
class Region:
    """``byte_size`` bytes from ``offset`` of the object called ``key``, which is open as ``fd``."""

    name: str
    key: str
    offset: int
    byte_size: int
    fd: int

    def tree(self) -> dict[str, Any]:
        return {"name": self.name, "key": self.key, "offset": self.offset, "byte_size": self.byte_size}


class Regions:
    """What clients registered, by name."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._regions: dict[str, Region] = {}

    def register(self, name: str, key: Any, offset: Any, byte_size: Any) -> None:
        """Map a region. Raises HttpError 400."""
        if name in self._regions:
            raise HttpError(400, f"shared memory region {name} is registered already")
        if len(self._regions) >= MOST:
            raise HttpError(400, f"{MOST} shared memory regions are registered, more are not taken")
        match = _KEY.fullmatch(key) if isinstance(key, str) else None
        if match is None:
            raise HttpError(400, "key must be the name of a shared memory object")
        if not _whole(offset) or not _whole(byte_size) or byte_size < 1:
            raise HttpError(400, "offset and byte_size must be whole numbers")
        self._regions[name] = Region(name, key, offset, byte_size, self._open(match[1], offset + byte_size))

    def unregister(self, name: str | None) -> None:
        """Forget a region, or all of them. An unknown name is not an error."""
        for known in [name] if name is not None else list(self._regions):
            region = self._regions.pop(known, None)
            if region is not None:
                os.close(region.fd)

    def status(self, name: str | None) -> list[dict[str, Any]]:
        """Raises HttpError 404 for an unknown name."""
        if name is None:
            return [region.tree() for region in self._regions.values()]
        if name not in self._regions:
            raise HttpError(404, f"shared memory region {name[:80]} is not registered")
        return [self._regions[name].tree()]

    def read(self, name: str, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset`` of a region. Raises HttpError 400."""
        region = self.check(name, offset, size)
        data = os.pread(region.fd, size, region.offset + offset)
        if len(data) != size:
            raise HttpError(400, f"shared memory region {name}: its object was cut short")
        return data

    def write(self, name: str, offset: int, data: Any) -> None:
        """``data`` to ``offset`` of a region. Raises HttpError 400."""
        region = self.check(name, offset, len(data))
        try:
            written = os.pwrite(region.fd, data, region.offset + offset)
        except OSError as error:  # its object has holes, and the memory is full
            raise HttpError(400, f"shared memory region {name}: cannot be written: {error.strerror}") from None
        if written != len(data):
            raise HttpError(400, f"shared memory region {name}: cannot be written")

    def check(self, name: str, offset: int, size: int) -> Region:
        """The region, which holds ``size`` bytes from ``offset``. Raises HttpError 400."""
        region = self._regions.get(name)
        if region is None:
            raise HttpError(400, f"shared memory region {name[:80]} is not registered")
        if offset + size > region.byte_size:
            raise HttpError(400, f"shared memory region {name}: {size} bytes from {offset} do not fit its {region.byte_size}")
        return region

    def _open(self, key: str, end: int) -> int:
        try:
            fd = os.open(self._folder / key, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise HttpError(400, f"shared memory object {key}: {error.strerror}") from None
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode) and found.st_size >= end:
            return fd
        os.close(fd)
        raise HttpError(400, f"shared memory object {key}: has {found.st_size} bytes, {end} are asked for")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 48
