"""Bytes on their way to a client who may not read as fast as they come."""

from __future__ import annotations

import socket
from typing import Any


class Outgoing:
    """What the socket does not take at once is kept and sent later. Methods raise OSError when the client is gone."""

    __slots__ = ("_sock", "left")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.left: list[memoryview] = []

    def send(self, data: bytes) -> None:
        if self.left:
            self.left.append(memoryview(data))
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self.left.append(memoryview(data)[sent:])

    def send_views(self, head: bytes, views: list[Any]) -> None:
        """``head`` and buffers that may change as soon as this returns: what the socket does not take is copied."""
        pieces = [memoryview(head), *(memoryview(view).cast("B") for view in views)]
        if not self.left:
            try:
                pieces = _rest(pieces, self._sock.sendmsg(pieces))
            except BlockingIOError:
                pass
        self.left += [memoryview(bytes(piece)) for piece in pieces]

    def more(self) -> None:
        """The socket can be written again."""
        try:
            self.left = _rest(self.left, self._sock.sendmsg(self.left[:64]))
        except BlockingIOError:
            pass


def _rest(pieces: list[memoryview], sent: int) -> list[memoryview]:
    """What of ``pieces`` is left after ``sent`` bytes."""
    for index, piece in enumerate(pieces):
        if sent < len(piece):
            return [piece[sent:], *pieces[index + 1 :]]
        sent -= len(piece)
    return []
