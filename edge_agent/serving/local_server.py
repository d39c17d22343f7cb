"""The local API: one JSON line in, one or more JSON lines out, over a unix socket.

A request is ``{"call": WORD, ...arguments}``; a bundle to install travels as an open file descriptor beside it (SCM_RIGHTS), so
that the agent needs no right to the caller's folders. Answers are ``{"progress": ...}`` lines and at the end one
``{"ok": ...}`` or ``{"error": TEXT}``. Who may connect is decided by the socket's file mode.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge_agent.errors import EdgeError, StoreError
from edge_agent.serving.local_socket import MAX_LINE_BYTES, bind_listener

MAX_CONNECTIONS = 16
REQUEST_TIMEOUT_S = 10.0

Progress = Callable[[Mapping[str, Any]], None]
Call = Callable[[Mapping[str, Any], "int | None", Progress], Any]
"""Takes the request, the descriptor that came with it (closed by the server afterwards) and where progress goes; returns JSON."""


class LocalServer:
    """Serves the calls given to :meth:`handle` at ``path`` until stopped, each connection on a thread, at most :data:`MAX_CONNECTIONS`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._calls: dict[str, Call] = {}
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def handle(self, calls: Mapping[str, Call]) -> None:
        """Add calls by word; before :meth:`start`."""
        self._calls.update(calls)

    def start(self) -> None:
        """Bind and serve. Raises StoreError when the folder is missing or not ours."""
        try:
            self._listener = bind_listener(self._path)
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be listened on: {error.strerror}; see device.runtime_dir") from None
        self._thread = threading.Thread(target=self._accept, name="local-api", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections and remove the socket."""
        if self._listener is None:
            return
        # shutdown wakes the thread that waits in accept; close alone would not
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._path.unlink(missing_ok=True)
        if self._thread is not None:
            self._thread.join(timeout=2.0)

    def _accept(self) -> None:
        assert self._listener is not None
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            if not self._slots.acquire(blocking=False):
                _send(conn, {"error": f"busy: {MAX_CONNECTIONS} local connections are open already"})
                conn.close()
                continue
            threading.Thread(target=self._serve, args=(conn,), name="local-call", daemon=True).start()

    def _serve(self, conn: socket.socket) -> None:
        fds: list[int] = []
        try:
            conn.settimeout(REQUEST_TIMEOUT_S)
            request, fds = _receive(conn)
            conn.settimeout(None)
            _send(conn, self._answer(request, fds, conn))
        except (OSError, ValueError):
            pass  # the caller went away or sent rubbish: there is nobody to tell
        finally:
            for fd in fds:
                os.close(fd)
            conn.close()
            self._slots.release()

    def _answer(self, request: Any, fds: list[int], conn: socket.socket) -> dict[str, Any]:
        if not isinstance(request, dict) or not isinstance(request.get("call"), str):
            return {"error": 'a request is one line of JSON such as {"call": "status"}'}
        call = self._calls.get(request["call"])
        if call is None:
            return {"error": f"unknown call {request['call'][:64]!r}; known: {', '.join(sorted(self._calls))}"}
        try:
            return {"ok": call(request, fds[0] if fds else None, lambda p: _send(conn, {"progress": dict(p)}))}
        except EdgeError as error:
            return {"error": str(error)}
        except Exception as error:  # a full disk, or a mistake of ours: whoever asked must hear of it, and not only the log
            return {"error": f"{request['call'][:64]}: {type(error).__name__}: {error}"}


def _receive(conn: socket.socket) -> tuple[Any, list[int]]:
    data, fds, _, _ = socket.recv_fds(conn, 65_536, 4)
    try:
        while data and not data.endswith(b"\n"):
            more = conn.recv(65_536)
            if not more or len(data) > MAX_LINE_BYTES:
                raise ValueError("a request that does not end")
            data += more
        return json.loads(data), list(fds)
    except (OSError, ValueError, RecursionError):
        for fd in fds:
            os.close(fd)
        raise


def _send(conn: socket.socket, answer: Mapping[str, Any]) -> None:
    conn.sendall(json.dumps(answer, separators=(",", ":"), default=str).encode() + b"\n")
