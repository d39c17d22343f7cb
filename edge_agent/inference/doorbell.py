"""The descriptors of a link, without the numpy that its ends need: the engine makes them and hands them to both."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkFds:
    """The shared memory, the doorbell of requests, the doorbell of answers. The holder closes them."""

    memory: int
    request: int
    response: int

    def all(self) -> tuple[int, int, int]:
        return (self.memory, self.request, self.response)

    def close(self) -> None:
        for fd in self.all():
            os.close(fd)


def create_link(total_bytes: int) -> LinkFds:
    """Fresh shared memory of ``total_bytes`` zeros and two silent doorbells."""
    memory = os.memfd_create("edge-link", os.MFD_CLOEXEC)
    os.ftruncate(memory, total_bytes)
    flags = os.EFD_CLOEXEC | os.EFD_NONBLOCK
    return LinkFds(memory, os.eventfd(0, flags), os.eventfd(0, flags))


def silence(fd: int) -> int:
    """Take what rang so far from a doorbell that does not block; how often it rang."""
    try:
        return os.eventfd_read(fd)
    except BlockingIOError:
        return 0
