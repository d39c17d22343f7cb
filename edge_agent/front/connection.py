"""One client's connection: bytes to requests, answers to bytes, in order, whatever the pieces they come in.

One request is worked on at a time; what a client sends ahead waits. A request that is there whole after one read, with a head seen
before, costs one search and one dictionary look-up: clients repeat their heads to the byte.
"""

from __future__ import annotations

import select
import socket
from typing import Any

from edge_agent.front.http_body import ChunkedBody, inflated
from edge_agent.front.http_head import MAX_HEAD_BYTES, NO_HEAD, Head, HttpError
from edge_agent.front.http_reply import CONTINUE, error_reply, json_reply
from edge_agent.front.outgoing import Outgoing
from edge_agent.front.shared import Handle, Shared

MAX_AHEAD_BYTES = 256 << 10
MAX_LINGER_BYTES = 4 << 20
_READ, _WRITE, _GONE = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP | select.EPOLLERR
HEAD, BODY, CHUNKS, BUSY, LINGER, CLOSED = range(6)


class Connection:
    """Handlers read ``head`` and answer once with :meth:`finish`, :meth:`json` or :meth:`error`, at once or later."""

    # fmt: off
    __slots__ = (
        "_advancing", "_body", "_chunks", "_filled", "_handle", "_held", "_loop", "_out", "_pending", "_scratch", "_shared", "_sock",
        "_view", "_watching", "began_ns", "ended", "fd", "head", "state",
    )
    # fmt: on

    def __init__(self, shared: Shared, sock: socket.socket) -> None:
        self._shared = shared
        self._loop = shared.loop
        self._sock = sock
        self._scratch = shared.scratch
        self._view = memoryview(shared.scratch)
        self._pending = bytearray()
        self._out = Outgoing(sock)
        self._body = bytearray()
        self._filled = 0
        self._held = 0
        self._chunks: ChunkedBody | None = None
        self._handle: Handle | None = None
        self._advancing = False
        self._watching = _READ
        self.state = HEAD
        self.head = NO_HEAD
        self.ended = False
        self.began_ns = shared.loop.now_ns
        self.fd = sock.fileno()
        shared.loop.watch(self.fd, self.ready)

    @property
    def idle(self) -> bool:
        """Nothing of a request is here, nothing of an answer is left."""
        return self.state == HEAD and not self._pending and not self._out.left

    @property
    def stuck(self) -> bool:
        """The client does not read its answer."""
        return bool(self._out.left)

    def ready(self, events: int) -> None:
        """The socket can be read or written."""
        if events & _GONE:
            self.close()
            return
        if events & _WRITE:
            self._write_more()
        if events & ~_WRITE and self.state != CLOSED:
            self._read()

    def _read(self) -> None:
        if self.state == BODY:
            self._fill()
            return
        try:
            count = self._sock.recv_into(self._scratch)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not count:
            self._end_of_input()
        elif self.state == HEAD and not self._pending:
            self._begin(count)
        else:
            self._append(count)

    def _begin(self, count: int) -> None:
        """The first bytes of a request. The short way: it is all there, and its head is known."""
        self.began_ns = self._loop.now_ns
        end = self._scratch.find(b"\r\n\r\n", 0, count)
        if end > 0:
            shared = self._shared
            known = shared.heads.get(bytes(self._view[:end]))
            if known is not None and known[0].plain and (not shared.token or shared.allowed(known[0].bearer)):
                missing = end + 4 + known[0].length - count
                if not missing:
                    self.head = known[0]
                    self._work(known[1], bytes(self._view[end + 4 : count]))
                    return
                if missing > 0 and shared.room.has(known[0].length):
                    self.head = known[0]
                    self._start_body(known[1], self._view[end + 4 : count])
                    return
        self._pending += self._view[:count]
        self._advance()

    def _append(self, count: int) -> None:
        if self.state == LINGER:
            self._filled += count
            if self._filled > MAX_LINGER_BYTES:
                self.close()
            return
        self._pending += self._view[:count]
        if self.state == BUSY:
            if len(self._pending) > MAX_AHEAD_BYTES:
                self._watch()
        else:
            self._advance()

    def _end_of_input(self) -> None:
        """The client sends no more; it may still wait for the answer."""
        if self.state == BUSY or self._out.left:
            self.ended = True
            self._watch()
        else:
            self.close()

    def _advance(self) -> None:
        """Work on what is pending as far as it goes."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._pending and self._step():
                pass
        except HttpError as error:
            self._refuse(error)
        finally:
            self._advancing = False

    def _step(self) -> bool:
        if self.state == HEAD and not self._out.left:
            return self._head()
        if self.state == CHUNKS:
            assert self._chunks is not None and self._handle is not None
            body = self._chunks.feed(self._pending)
            self._hold(self._chunks.size - self._held)
            if body is not None:
                self._work(self._handle, body)
            return body is not None
        return False

    def _head(self) -> bool:
        """Take the next head; false when more bytes are needed first."""
        pending = self._pending
        while pending.startswith(b"\r\n"):  # RFC 9112, 2.2: empty lines before a request are passed over
            del pending[:2]
        end = pending.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES + 4)
        if end < 0:
            if len(pending) > MAX_HEAD_BYTES:
                raise HttpError(431, f"the head is longer than {MAX_HEAD_BYTES} bytes", closes=True)
            return False
        head, handle = self._shared.known(bytes(pending[:end]))
        del pending[: end + 4]
        self.head = head
        self._shared.check(head)
        if head.waits and len(pending) < max(head.length, 1):
            self._send(CONTINUE)
        return self._begin_body(head, handle)

    def _begin_body(self, head: Head, handle: Handle) -> bool:
        pending = self._pending
        if head.chunked:
            self.state, self._handle, self._chunks = CHUNKS, handle, ChunkedBody(self._shared.max_body_bytes)
            return bool(pending)
        if len(pending) >= head.length:
            body = bytes(pending[: head.length])
            del pending[: head.length]
            self._work(handle, body)
            return True
        self._start_body(handle, pending)
        pending.clear()
        return False

    def _start_body(self, handle: Handle, there: bytearray | memoryview) -> None:
        """A body of known length of which the first bytes are ``there``; the rest is read to where it stays."""
        self._hold(self.head.length)
        self._body = bytearray(self.head.length)
        self._filled = len(there)
        self._body[: self._filled] = there
        self.state, self._handle = BODY, handle

    def _hold(self, size: int) -> None:
        self._shared.room.take(size)
        self._held += size

    def _let_go(self) -> None:
        self._shared.room.give_back(self._held)
        self._held = 0

    def _fill(self) -> None:
        """More of a body of known length, read to where it stays."""
        try:
            with memoryview(self._body) as view:
                count = self._sock.recv_into(view[self._filled :])
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self.close()
            return
        self._filled += count
        if self._filled == len(self._body):
            body, self._body = self._body, bytearray()
            assert self._handle is not None
            self._work(self._handle, body)

    def _work(self, handle: Handle, body: bytes | bytearray) -> None:
        """Hand a whole request to who answers it."""
        self.state = BUSY
        head, shared = self.head, self._shared
        try:
            if head.coding:
                body = inflated(bytes(body), head.coding, shared.max_body_bytes)
            handle(self, body)  # type: ignore[arg-type]
        except HttpError as error:
            self.error(error.status, error.text, error.extra)
        except Exception as bug:
            self.stumbled(bug)

    def json(self, status: int, tree: Any, extra: bytes = b"") -> None:
        """Answer with ``tree`` as JSON."""
        if self.state == BUSY:
            self.finish(json_reply(self.head, status, tree, extra))

    def error(self, status: int, text: str, extra: bytes = b"") -> None:
        """Answer with an error."""
        if self.state == BUSY:
            self.finish(error_reply(self.head, status, text, extra))

    def stumbled(self, bug: Exception) -> None:
        """Answer that something of ours went wrong, and tell it: one request must not take the others' process with it."""
        self._shared.on_bug(bug)
        self.error(500, f"internal error: {type(bug).__name__}: {bug}")

    def finish(self, data: bytes) -> None:
        """Send the whole answer and go on with the next request. Nothing when the client is gone."""
        if self.state != BUSY:
            return
        self.state = HEAD
        if self._held:
            self._let_go()
        self._send(data)
        if self._pending or self.ended or not self.head.keep_alive or self._out.left:
            self._go_on()

    def finish_views(self, head: bytes, views: list[Any]) -> None:
        """As :meth:`finish`, of ``head`` and buffers that may change as soon as this returns: what the socket does not take is copied."""
        if self.state != BUSY:
            return
        self.state = HEAD
        if self._held:
            self._let_go()
        try:
            self._out.send_views(head, views)
        except OSError:
            self.close()
            return
        self._go_on()

    def _go_on(self) -> None:
        """After an answer: close, or write what is left, or take up what came meanwhile."""
        if self.state == CLOSED:
            return
        if not self._out.left and (not self.head.keep_alive or (self.ended and not self._pending)):
            self._linger()
            return
        self.began_ns = self._loop.now_ns
        self._watch()
        self._advance()
        if self.ended and self.state in (HEAD, CHUNKS) and not self._out.left:
            self.close()  # what is pending will never be whole

    def _refuse(self, error: HttpError) -> None:
        """Answer a request that could not be read to its end; what follows it cannot be told apart."""
        self.state = BUSY
        if error.closes:
            self._pending.clear()
            self.head = Head(self.head.method if self.head.method == "HEAD" else "GET", "", (), False, closing=NO_HEAD.closing)
        self.error(error.status, error.text, error.extra)

    def _linger(self) -> None:
        """Closing at once with bytes unread would reset the connection under the answer: say the end, and read until the client's."""
        if self.ended:
            self.close()
            return
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self._pending.clear()
        self.state, self._filled, self.began_ns = LINGER, 0, self._loop.now_ns
        self._watch()

    def _send(self, data: bytes) -> None:
        try:
            self._out.send(data)
        except OSError:
            self.close()

    def _write_more(self) -> None:
        try:
            self._out.more()
        except OSError:
            self.close()
            return
        self.began_ns = self._loop.now_ns
        if not self._out.left:
            if self.state == BUSY:
                self._watch()
            else:
                self._go_on()

    def _watch(self) -> None:
        """Ask for the events that matter now."""
        full = self.state == BUSY and len(self._pending) > MAX_AHEAD_BYTES
        reading = not self.ended and not full and not (self._out.left and self.state == HEAD)
        wanted = (_READ if reading else 0) | (_WRITE if self._out.left else 0)
        if wanted != self._watching and self.state != CLOSED:
            self._watching = wanted
            self._loop.change(self.fd, wanted)

    def turn_away(self, status: int, text: str, extra: bytes) -> None:
        """Answer before anything was asked, and close."""
        self._refuse(HttpError(status, text, closes=True, extra=extra))

    def close_late(self) -> None:
        """The client took too long to send its request: tell it when it sent some, and close."""
        if self.state in (HEAD, BODY, CHUNKS):
            self._refuse(HttpError(408, "the request did not come in time", closes=True))
        else:
            self.close()

    def close(self) -> None:
        """Let go of the client. A request that is being worked on goes unanswered."""
        if self.state == CLOSED:
            return
        self.state = CLOSED
        self._let_go()
        self._loop.unwatch(self.fd)
        self._sock.close()
        self._pending, self._out.left, self._body = bytearray(), [], bytearray()
        self._shared.on_close(self)
