"""The HTTP API as this process asks it: over its unix socket, connections kept open and used one call at a time."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.grpc_front.refusal import Refusal, refusal_of
from edge_agent.serving.local_socket import connect

CONNECT_LIMIT_S = 5.0
SCRATCH_BYTES = 64 << 10
MOST_HEADS = 256
MOST_IDLE = 32
_FIELD = re.compile(rb"\r\n(content-length|inference-header-content-length|retry-after|connection):[ \t]*([^\r\n]*)", re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """``json_bytes`` of the body are JSON when tensors follow it, -1 when none do. ``closes``: the connection cannot be used again."""

    status: int
    length: int
    json_bytes: int = -1
    retry_after: str = ""
    closes: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    head: AnswerHead
    body: bytes | bytearray

    def tree(self) -> Any:
        """The body's JSON. Raises Refusal with the API's own words for an error."""
        try:
            tree = json.loads(self.body)
        except ValueError:
            raise Refusal("INTERNAL", f"the API answered {self.head.status} with something that is not JSON") from None
        self._check(tree)
        return tree

    def require_ok(self) -> None:
        """Raises Refusal with the API's own words for an error."""
        if self.head.status != 200:
            self.tree()

    def _check(self, tree: Any) -> None:
        if self.head.status != 200:
            text = tree.get("error") if isinstance(tree, dict) else None
            raise refusal_of(self.head.status, str(text or f"the API answered {self.head.status}"), self.head.retry_after)


class Call:
    """One gRPC call as the API's connections know it: when the client goes away, whatever it waits for ends."""

    __slots__ = ("_line", "_lock", "_over")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self._over = False

    def end(self) -> None:
        """The client is gone, its deadline has passed, or it has its answer. Any thread, any number of times."""
        with self._lock:
            self._over = True
            if self._line is not None:
                try:
                    self._line.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # the API was quicker

    def hold(self, line: socket.socket | None) -> None:
        """Waits on ``line``, or on none. Raises Refusal when the call is over."""
        with self._lock:
            self._line = line
            if self._over:
                raise Refusal("CANCELLED", "the call is over")


class Api:
    """``path`` is the socket. Any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[_Line] = []
        self._heads: dict[bytes, AnswerHead] = {}

    def ask(self, call: Call, pieces: Sequence[Any]) -> Answer:
        """Send a whole request and take its answer. Raises Refusal when there is none."""
        line = self._free_line()
        kept = False
        try:
            call.hold(line.socket)
            answer = line.ask(pieces, self._heads)
            call.hold(None)
            kept = not answer.head.closes
        except (OSError, EOFError):
            call.hold(None)
            raise Refusal("UNAVAILABLE", "the API's process ended before it answered; ask again") from None
        finally:
            if kept and len(self._idle) < MOST_IDLE:
                self._idle.append(line)
            else:
                line.socket.close()
        return answer

    def get(self, call: Call, path: str) -> Answer:
        return self.ask(call, [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()])

    def post(self, call: Call, path: str, tree: Any) -> Answer:
        body = json.dumps(tree).encode()
        return self.ask(call, [f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode(), body])

    def close(self) -> None:
        while self._idle:
            self._idle.pop().socket.close()

    def _free_line(self) -> _Line:
        """One that was used last, so that those that are not needed grow old; else a new one. Raises Refusal."""
        while True:
            try:
                line = self._idle.pop()
            except IndexError:
                return self._connected()
            if line.open:
                return line
            line.socket.close()

    def _connected(self) -> _Line:
        try:
            sock = connect(self._path, timeout_s=CONNECT_LIMIT_S)
        except OSError as error:
            raise Refusal("UNAVAILABLE", f"the API cannot be reached: {error.strerror or error}", retry_s=1.0) from None
        sock.setblocking(True)  # who ends a call, or the API's process, ends the wait
        return _Line(sock)


class _Line:
    """A connection and where its answers are read to."""

    __slots__ = ("_scratch", "socket")

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._scratch = bytearray(SCRATCH_BYTES)

    @property
    def open(self) -> bool:
        """Nothing has come since the last answer, neither the end nor bytes that nobody asked for."""
        try:
            self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def ask(self, pieces: Sequence[Any], heads: dict[bytes, AnswerHead]) -> Answer:
        """Raises OSError, EOFError."""
        try:
            self._send(pieces)
        except OSError:
            pass  # an API that refuses before it has read everything has said why
        scratch, count, end = self._scratch, 0, -1
        with memoryview(scratch) as view:
            while end < 0:
                got = self.socket.recv_into(view[count:]) if count < SCRATCH_BYTES else 0
                if not got:
                    raise EOFError
                count += got
                end = scratch.find(b"\r\n\r\n", 0, count)
            head = _known(heads, bytes(view[:end]))
            start, whole = end + 4, end + 4 + head.length
            if count > whole:
                raise EOFError
            if count == whole:
                return Answer(head, bytes(view[start:whole]))
            body = bytearray(head.length)
            body[: count - start] = view[start:count]
        self._fill(body, count - start)
        return Answer(head, body)

    def _send(self, pieces: Sequence[Any]) -> None:
        left = sum(map(len, pieces))
        sent = self.socket.sendmsg(pieces)
        if sent < left:  # more than the socket takes at once
            self.socket.sendall(b"".join(pieces)[sent:])

    def _fill(self, body: bytearray, filled: int) -> None:
        with memoryview(body) as view:
            while filled < len(body):
                got = self.socket.recv_into(view[filled:], 0, socket.MSG_WAITALL)
                if not got:
                    raise EOFError
                filled += got


def _known(heads: dict[bytes, AnswerHead], raw: bytes) -> AnswerHead:
    head = heads.get(raw)
    if head is None:
        head = read_head(raw)
        if len(heads) >= MOST_HEADS:
            heads.clear()
        heads[raw] = head
    return head


def read_head(raw: bytes) -> AnswerHead:
    """The head in ``raw``, without the empty line at its end. Raises EOFError for what the API does not say."""
    status = _STATUS.match(raw)
    fields = {name.lower(): value.strip() for name, value in _FIELD.findall(raw)}
    try:
        length = int(fields[b"content-length"])
        json_bytes = int(fields.get(b"inference-header-content-length", -1))
    except (KeyError, ValueError):
        raise EOFError from None
    if status is None or length < 0 or json_bytes > length:
        raise EOFError
    closes = fields.get(b"connection", b"").lower() == b"close"
    return AnswerHead(int(status[1]), length, json_bytes, fields.get(b"retry-after", b"").decode("latin-1"), closes)
