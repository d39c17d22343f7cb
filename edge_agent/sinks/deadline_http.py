"""HTTP/1.1 POST over one kept connection, with one deadline for all of it: connecting, sending and reading to the end.

``http.client``'s own timeout bounds each read, so a server that sends a byte now and then could hold a request for ever.
"""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected
from typing import Any
from urllib.parse import urlsplit

from edge_agent.clock import Clock

MOST_ANSWER_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """``retry_after`` is that header as it came, empty when it did not; ``text`` the beginning of the body."""

    status: int
    retry_after: str
    text: str


class Poster:
    """Posts to one address. Raises OSError (TimeoutError among them) and HTTPException; the connection is then closed, and opened again
    by the next post. ``tls`` is used for https."""

    def __init__(self, url: str, timeout_s: float, clock: Clock, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._tls = tls if parts.scheme == "https" else None
        self._timeout_s, self._clock = timeout_s, clock
        self._connection: HTTPConnection | None = None
        self._ends_ns = 0

    def post(self, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        """The whole answer, bounded in size."""
        self._ends_ns = self._clock.monotonic_ns() + int(self._timeout_s * 1e9)
        kept = self._connection is not None
        try:
            try:
                return self._ask(body, headers)
            except (RemoteDisconnected, ConnectionError):
                self.close()
                if not kept:
                    raise
            return self._ask(body, headers)  # a kept connection that the server had given up says nothing of the server
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """From any thread: a post that is under way ends with an error."""
        connection, self._connection = self._connection, None
        if connection is not None:
            sock = connection.sock
            if isinstance(sock, _DeadlineSocket):
                sock.abort()
            connection.close()

    def left_s(self) -> float:
        """Until the deadline of the post under way. Raises TimeoutError when it has passed."""
        left_ns = self._ends_ns - self._clock.monotonic_ns()
        if left_ns <= 0:
            raise TimeoutError(f"no whole answer in {self._timeout_s:g} s")
        return left_ns / 1e9

    def _ask(self, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        connection = self._connection
        if connection is None:
            connection = HTTPConnection(self._host, self._port)
            connection.default_port = 80 if self._tls is None else 443  # which goes without saying in the Host header
            connection.sock = _DeadlineSocket(self._connect(), self)
            self._connection = connection
        connection.request("POST", self._target, body=body, headers=dict(headers))
        response = connection.getresponse()
        text = response.read(MOST_ANSWER_BYTES)
        if len(text) < MOST_ANSWER_BYTES and response.length:
            raise IncompleteRead(text, response.length)
        if response.will_close or not _at_end(response):
            self.close()
        return HttpAnswer(response.status, response.getheader("Retry-After", ""), text[:200].decode(errors="replace"))

    def _connect(self) -> socket.socket:
        sock = socket.create_connection((self._host, self._port), self.left_s())
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is None:
                return sock
            sock.settimeout(self.left_s())
            return self._tls.wrap_socket(sock, server_hostname=self._host)
        except BaseException:
            sock.close()
            raise


def _at_end(response: HTTPResponse) -> bool:
    return response.isclosed() or not response.read(1)


class _DeadlineSocket:
    """What ``http.client`` needs of a socket; every call waits no longer than the deadline."""

    def __init__(self, sock: socket.socket, poster: Poster) -> None:
        self._sock, self._poster = sock, poster

    def sendall(self, data: Any) -> None:
        self._sock.settimeout(self._poster.left_s())
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self._sock, self._poster))

    def abort(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # not connected any more
            pass

    def close(self) -> None:
        self._sock.close()


class _DeadlineReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, poster: Poster) -> None:
        self._sock, self._poster = sock, poster

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._poster.left_s())
        return self._sock.recv_into(buffer)


__all__ = ["HTTPException", "HttpAnswer", "Poster"]
