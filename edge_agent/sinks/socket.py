"""Predictions over a unix or TCP socket, one line each: to one reader we connect to, or to all readers that connect to us."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_agent.errors import SinkError
from edge_agent.sinks.endpoint import Endpoint, parse_endpoint
from edge_agent.sinks.lines import FORMATS, Format
from edge_agent.values import Prediction

_SOCKET_MODE = 0o660
_BACKLOG = 16
_CLOSE_S = 0.05


def open_sink(name: str, options: Mapping[str, Any], publish: object = None) -> ConnectedSink | ListeningSink:
    """A socket as the checked ``options`` say: connect or listen, format (json), buffer_kib (256), timeout_s (2), most_readers (16)."""
    line_of = FORMATS[str(options.get("format", "json"))]
    buffer_bytes = int(options.get("buffer_kib", 256)) * 1024
    if "connect" in options:
        return ConnectedSink(name, parse_endpoint(options["connect"]), line_of, buffer_bytes, float(options.get("timeout_s", 2.0)))
    return ListeningSink(name, parse_endpoint(options["listen"]), line_of, buffer_bytes, int(options.get("most_readers", 16)))


class Reader:
    """The other end of a connection. What it has not read yet is kept up to ``buffer_bytes``; sending never waits."""

    def __init__(self, sock: socket.socket, buffer_bytes: int) -> None:
        self._sock, self._buffer_bytes = sock, buffer_bytes
        self._unsent = bytearray()
        sock.setblocking(False)

    def send(self, data: bytes) -> None:
        """Raises OSError when the reader is gone, or so slow that the buffer is full."""
        if self._hung_up():
            raise BrokenPipeError(0, "the reader hung up")
        if len(self._unsent) + len(data) > self._buffer_bytes:
            self.push()
        if len(self._unsent) + len(data) > self._buffer_bytes:
            raise BlockingIOError(0, "the reader is too slow")
        self._unsent += data
        self.push()

    def push(self) -> None:
        """Send what can be sent now. Raises OSError when the reader is gone."""
        try:
            while self._unsent:
                del self._unsent[: self._sock.send(self._unsent, socket.MSG_NOSIGNAL)]
        except BlockingIOError:
            pass

    @property
    def backlog(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._unsent)

    def close(self) -> None:
        """Gives a reader that keeps up a moment for the last lines."""
        try:
            self._sock.settimeout(_CLOSE_S)
            self._sock.sendall(self._unsent, socket.MSG_NOSIGNAL)
        except OSError:
            pass
        self._sock.close()

    def _hung_up(self) -> bool:
        """Whether it closed its end. What it says is not listened to."""
        try:
            while data := self._sock.recv(4096):
                if len(data) < 4096:
                    return False
        except BlockingIOError:
            return False
        return True


class ConnectedSink:
    """Connects at the first line and again after an error. A reader that hangs up, or lets ``buffer_bytes`` wait, is left."""

    def __init__(self, name: str, endpoint: Endpoint, line_of: Format, buffer_bytes: int, timeout_s: float) -> None:
        self.name = name
        self._endpoint, self._line_of, self._buffer_bytes, self._timeout_s = endpoint, line_of, buffer_bytes, timeout_s
        self._reader: Reader | None = None

    @property
    def backlog(self) -> bool:
        return self._reader is not None and self._reader.backlog

    def emit(self, prediction: Prediction) -> None:
        try:
            if self._reader is None:
                self._reader = Reader(_connected(self._endpoint, self._timeout_s), self._buffer_bytes)
            self._reader.send(self._line_of(prediction))
        except OSError as error:
            self.close()
            raise SinkError(f"sink {self.name}: {self._endpoint}: {error.strerror or error}") from error

    def flush(self) -> None:
        try:
            if self._reader is not None:
                self._reader.push()
        except OSError as error:
            self.close()
            raise SinkError(f"sink {self.name}: {self._endpoint}: {error.strerror or error}") from error

    def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()


class ListeningSink:
    """Every connected reader gets each line from when it connected; one that lets ``buffer_bytes`` wait is disconnected, and notices by
    that. A line that nobody listens to counts as emitted. Readers are let in with the next line or flush."""

    def __init__(self, name: str, endpoint: Endpoint, line_of: Format, buffer_bytes: int, most_readers: int) -> None:
        self.name = name
        self._endpoint, self._line_of, self._buffer_bytes, self._most_readers = endpoint, line_of, buffer_bytes, most_readers
        self._listener: socket.socket | None = None
        self._readers: list[Reader] = []
        try:
            self._listen()
        except OSError:  # told with the first line, and tried again
            pass

    @property
    def backlog(self) -> bool:
        return any(reader.backlog for reader in self._readers)

    def emit(self, prediction: Prediction) -> None:
        self._let_in()
        line = self._line_of(prediction)
        for reader in tuple(self._readers):
            try:
                reader.send(line)
            except OSError:
                self._leave(reader)

    def flush(self) -> None:
        self._let_in()
        for reader in tuple(self._readers):
            try:
                reader.push()
            except OSError:
                self._leave(reader)

    def close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
            if self._endpoint.path:
                Path(self._endpoint.path).unlink(missing_ok=True)
        for reader in tuple(self._readers):
            self._leave(reader)

    def _let_in(self) -> None:
        """Accept who has come. Raises SinkError when the address cannot be listened on."""
        try:
            if self._listener is None:
                self._listen()
            while self._listener is not None:
                sock, _ = self._listener.accept()
                if len(self._readers) < self._most_readers:
                    self._readers.append(Reader(sock, self._buffer_bytes))
                else:
                    sock.close()
        except BlockingIOError:
            pass
        except OSError as error:
            raise SinkError(f"sink {self.name}: {self._endpoint}: cannot be listened on ({error.strerror or error})") from error

    def _listen(self) -> None:
        if self._endpoint.path:
            _remove_stale(Path(self._endpoint.path))
        listener = socket.socket(_family(self._endpoint), socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(self._endpoint.path or (self._endpoint.host, self._endpoint.port))
            if self._endpoint.path:
                Path(self._endpoint.path).chmod(_SOCKET_MODE)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
        self._listener = listener

    def _leave(self, reader: Reader) -> None:
        reader.close()
        if reader in self._readers:
            self._readers.remove(reader)


def _connected(endpoint: Endpoint, timeout_s: float) -> socket.socket:
    if not endpoint.path:
        sock = socket.create_connection((endpoint.host, endpoint.port), timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        sock.connect(endpoint.path)
    except BaseException:
        sock.close()
        raise
    return sock


def _family(endpoint: Endpoint) -> socket.AddressFamily:
    if endpoint.path:
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET


def _remove_stale(path: Path) -> None:
    """A socket file that nobody listens on is a dead process's. Anything else is not ours to remove."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except FileNotFoundError:
        return
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.settimeout(0.5)
        probe.connect(str(path))
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
    except OSError:
        pass
    finally:
        probe.close()
