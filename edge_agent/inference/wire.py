"""Small JSON messages and file descriptors between the processes of one agent, over AF_UNIX SOCK_SEQPACKET.

A packet is one byte that says where the JSON is, then the JSON: ``J`` in the packet itself, ``F`` in a memory file whose
descriptor travels as the first one. Sockets come from :func:`pair` and are inherited, never bound to a name, so nobody
else can send here. Packets arrive whole and in order; the end of the other process reads as :class:`ChannelClosed`.
"""

from __future__ import annotations

import array
import json
import os
import select
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.errors import EdgeError

INLINE_BYTES = 32 << 10
MAX_BYTES = 64 << 20
MAX_FDS = 8
_BUFFER_BYTES = INLINE_BYTES + 64
_SEND_BUFFER_BYTES = 1 << 20


class ChannelClosed(EdgeError):
    """The process at the other end is gone, or closed its end."""


class ChannelFull(EdgeError):
    """The other end does not read: its buffer stayed full for as long as we may wait."""

    retryable = True


@dataclass(frozen=True, slots=True)
class Packet:
    """One received message. The receiver owns ``fds`` and must close them."""

    message: dict[str, Any]
    fds: tuple[int, ...]


class Channel:
    """One end. ``send`` may be called from several threads; ``receive`` from one."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, message: Mapping[str, Any], fds: Sequence[int] = (), *, timeout_s: float = 0.0) -> None:
        """Send ``message`` and duplicates of ``fds``; the caller keeps its own. Raises ChannelClosed, ChannelFull."""
        body = json.dumps(message, separators=(",", ":")).encode()
        if len(body) < INLINE_BYTES:
            self._send(b"J" + body, fds, timeout_s)
            return
        memory = os.memfd_create("edge-message", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(memory), "wb") as file:
                file.write(body)
            self._send(b"F", (memory, *fds), timeout_s)
        finally:
            os.close(memory)

    def _send(self, data: bytes, fds: Sequence[int], timeout_s: float) -> None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        while True:
            try:
                self._sock.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)
                return
            except BlockingIOError:
                if not _ready(self._sock, select.POLLOUT, timeout_s):
                    raise ChannelFull("the other process does not read its messages") from None
            except OSError as error:
                raise ChannelClosed(f"the other process is gone ({error.strerror})") from None

    def receive(self) -> Packet | None:
        """The next packet, ``None`` when none waits. Raises ChannelClosed when none will come."""
        room = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
        try:
            data, ancillary, flags, _ = self._sock.recvmsg(_BUFFER_BYTES, room, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ChannelClosed(f"the other process is gone ({error.strerror})") from None
        fds = _descriptors(ancillary)
        if not data:
            raise ChannelClosed("the other process closed its end")
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            close_all(fds)
            raise ChannelClosed("a message was cut on the way; too many descriptors are open in this process")
        if data[:1] == b"F":
            memory, fds = fds[0], fds[1:]
            data = _read_memory(memory)
        return Packet(json.loads(data[1:]), tuple(fds))

    def wait(self, timeout_s: float | None) -> Packet | None:
        """The next packet, ``None`` when none came within ``timeout_s`` (``None`` waits for ever)."""
        packet = self.receive()
        if packet is None and _ready(self._sock, select.POLLIN, timeout_s):
            packet = self.receive()
        return packet

    def close(self) -> None:
        self._sock.close()


def pair() -> tuple[Channel, socket.socket]:
    """Our end, and the other process's end to be passed on by descriptor."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for sock in (ours, theirs):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    return Channel(ours), theirs


def from_fd(fd: int) -> Channel:
    """The channel of an inherited descriptor; it is ours from now on."""
    os.set_inheritable(fd, False)
    return Channel(socket.socket(fileno=fd))


def close_all(fds: Sequence[int]) -> None:
    """Close every descriptor in ``fds``."""
    for fd in fds:
        os.close(fd)


def _ready(sock: socket.socket, event: int, timeout_s: float | None) -> bool:
    poll = select.poll()
    poll.register(sock, event)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return list(fds)


def _read_memory(memory: int) -> bytes:
    with os.fdopen(memory, "rb") as file:
        file.seek(0)
        return b"J" + file.read(MAX_BYTES)
