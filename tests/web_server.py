"""A web server that does as it is told, request by request."""

from __future__ import annotations

import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from typing_extensions import Self

Answer = Callable[[socket.socket], bool]
"""Answers a request on its connection; whether the connection stays open."""


def status(code: int, body: bytes = b"", headers: str = "", *, keep: bool = True) -> Answer:
    """A whole answer."""

    def answer(connection: socket.socket) -> bool:
        connection.sendall(f"HTTP/1.1 {code} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)
        return keep

    return answer


def raw(data: bytes) -> Answer:
    """These bytes, and the end."""

    def answer(connection: socket.socket) -> bool:
        connection.sendall(data)
        return False

    return answer


@dataclass
class Request:
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class WebServer:
    """Listens on 127.0.0.1. ``script`` is what to do with the next requests; after that each is answered with 200."""

    script: deque[Answer] = field(default_factory=deque)
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def hang(self, connection: socket.socket) -> bool:
        """An answer that never comes."""
        self.ended.wait(30)
        return False

    def trickle(self, connection: socket.socket) -> bool:
        """An answer that never ends, a byte now and then."""
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not self.ended.wait(0.02):
            try:
                connection.sendall(b"X")
            except OSError:
                break
        return False

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as stream:
                while (first := stream.readline()) and self._one(connection, first, stream, number):
                    pass
        except OSError:
            pass

    def _one(self, connection: socket.socket, first: bytes, stream: object, number: int) -> bool:
        headers = {}
        while line := stream.readline().strip():  # type: ignore[attr-defined]
            name, _, value = line.decode().partition(":")
            headers[name.strip().lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", 0)))  # type: ignore[attr-defined]
        self.requests.append(Request(first.decode().split()[1], headers, body, number))
        answer = self.script.popleft() if self.script else status(200)
        return answer(connection)
