"""An HTTP server for the public folder of a repository: GET and HEAD, resumable by Range, nothing else.

What it serves is signed, so it needs no TLS to be trusted; put a TLS proxy or a CDN before it where secrecy or scale asks for it.
Every connection has a deadline for its next request and a deadline for taking its answer at a minimum pace, and their number is bounded:
slow or idle clients cannot starve the others.
"""

from __future__ import annotations

import errno
import json
import socket
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from edge_agent.clock import Clock, iso_utc, monotonic_s
from edge_agent.errors import TransportError
from fleet_controller.http_range import ByteRange, Unsatisfiable, parse_range
from fleet_controller.public_files import OpenFile, open_public

MAX_CONNECTIONS = 64
REQUEST_S = 15.0
STALL_S = 30.0
MIN_BYTES_PER_S = 1024
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class PublicServer(ThreadingHTTPServer):
    """Serves ``root``. ``log_requests`` writes one JSON object per request to stderr."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        root: Path,
        clock: Clock,
        *,
        log_requests: bool = False,
        max_connections: int = MAX_CONNECTIONS,
        request_s: float = REQUEST_S,
    ) -> None:
        self.root = root
        self.clock = clock
        self.log_requests = log_requests
        self.request_s = request_s
        self._slots = threading.BoundedSemaphore(max_connections)
        self._deadlines: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        try:
            super().__init__(address, PublicHandler)
        except OSError as error:
            raise TransportError(f"{address[0]}:{address[1]}: cannot listen: {_listen_problem(error)}") from None

    @property
    def url(self) -> str:
        host = self.server_address[0]
        shown = str(host) if self.address_family == socket.AF_INET else f"[{host!s}]"
        return f"http://{shown}:{self.server_address[1]}"

    def server_bind(self) -> None:
        # The standard library looks its own name up in the DNS here, which may take seconds and is never used.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._slots.acquire(blocking=False):
            self._turn_away(request)
            return
        self.set_deadline(request, self.request_s)
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._forget(request)
            self._turn_away(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def set_deadline(self, connection: socket.socket, within_s: float) -> None:
        """End ``connection`` unless it makes its next step within ``within_s``."""
        with self._lock:
            self._deadlines[connection] = monotonic_s(self.clock) + within_s

    def service_actions(self) -> None:
        """Called between connections, about twice a second: end what is overdue."""
        now_s = monotonic_s(self.clock)
        with self._lock:
            overdue = [connection for connection, deadline_s in self._deadlines.items() if now_s > deadline_s]
            for connection in overdue:
                del self._deadlines[connection]
        for connection in overdue:
            try:
                connection.shutdown(socket.SHUT_RDWR)  # its thread sees the end and closes it
            except OSError:
                pass

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, (OSError, ValueError)):  # a client that hung up is no news
            super().handle_error(request, client_address)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._deadlines.pop(connection, None)
        self._slots.release()

    def _turn_away(self, request: socket.socket) -> None:
        try:
            request.setblocking(False)
            request.send(_BUSY)
        except OSError:
            pass
        self.shutdown_request(request)


class PublicHandler(BaseHTTPRequestHandler):
    """One connection of :class:`PublicServer`."""

    server: PublicServer
    protocol_version = "HTTP/1.1"
    server_version = "edge-fleet"
    sys_version = ""
    timeout = STALL_S

    def handle_one_request(self) -> None:
        self.server.set_deadline(self.connection, self.server.request_s)
        super().handle_one_request()

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        if "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0":
            self.close_connection = True  # a body nobody reads would be taken for the next request
        found = open_public(self.server.root, self.path)
        if found is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        with found.file:
            if self._known(found):
                self._head(HTTPStatus.NOT_MODIFIED, found)
                self.end_headers()
                return
            try:
                part = parse_range(self._range_header(found) if with_body else None, found.size_bytes)
            except Unsatisfiable:
                self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, found.size_bytes)
                return
            self._send(found, part, with_body=with_body)

    def _send(self, found: OpenFile, part: ByteRange | None, *, with_body: bool) -> None:
        length = found.size_bytes if part is None else part.length
        self._head(HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT, found)
        self.send_header("Content-Type", found.content_type)
        self.send_header("Content-Length", str(length))
        if part is not None:
            self.send_header("Content-Range", f"bytes {part.first}-{part.last}/{found.size_bytes}")
        self.server.set_deadline(self.connection, STALL_S + length / MIN_BYTES_PER_S)
        self.end_headers()
        if with_body and length:
            self.connection.sendfile(found.file, 0 if part is None else part.first, length)

    def _head(self, status: HTTPStatus, found: OpenFile) -> None:
        self.send_response(status)
        self.send_header("ETag", found.etag)
        self.send_header("Cache-Control", found.cache_control)
        self.send_header("Accept-Ranges", "bytes")

    def _known(self, found: OpenFile) -> bool:
        known = [tag.strip().removeprefix("W/") for tag in self.headers.get("If-None-Match", "").split(",")]
        return found.etag in known or known == ["*"]

    def _range_header(self, found: OpenFile) -> str | None:
        """The range counts only when the client continues this very version of the file (RFC 9110 section 13.1.5)."""
        condition = self.headers.get("If-Range")
        return self.headers.get("Range") if condition is None or condition == found.etag else None

    def _refuse(self, status: HTTPStatus, size_bytes: int | None = None) -> None:
        self.send_response(status)
        if size_bytes is not None:
            self.send_header("Content-Range", f"bytes */{size_bytes}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        if self.server.log_requests:
            entry = {
                "t": iso_utc(self.server.clock.wall_ns()),
                "client": self.client_address[0],
                "method": self.command,
                "path": self.path,
                "range": self.headers.get("Range") if self.command else None,
                "status": int(code),
            }
            print(json.dumps(entry), file=sys.stderr, flush=True)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: what matters is in :meth:`log_request`."""


def _listen_problem(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is already in use; stop what uses it or choose another --port"
    return error.strerror or str(error)
