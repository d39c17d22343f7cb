"""Readings from a stream socket, unix or TCP: this side connects, or listens for one sender at a time."""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import SourceError
from edge_agent.sources.address import Address, parse_address
from edge_agent.sources.decoder import Decoder, choose_decoder, next_sample
from edge_agent.values import Sample

_READ_BYTES = 1 << 18
_FAREWELL_BYTES = 8 << 20
"""What is still read of a sender when the next one knocks: more than the kernel holds of it, and no reason to keep the next one waiting."""
_CONNECT_TIMEOUT_S = 2.0
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))


def open_source(name: str, options: Mapping[str, Any], inbox: object = None, *, clock: Clock | None = None) -> SocketSource:
    """As the checked ``options`` say: address, listen (false), and how the stream is framed: see
    :func:`~edge_agent.sources.decoder.choose_decoder`."""
    clock = clock or SystemClock()
    return SocketSource(
        name, parse_address(str(options["address"])), choose_decoder(name, options, clock), clock, listen=bool(options.get("listen", False))
    )


class SocketSource:
    """A connection that is lost is a SourceError when this side made it. When this side listens, the next sender is waited for, and one
    that comes while another is there takes its place: a sensor that lost power comes back before its old connection is known to be dead.
    What the one before it had sent until then is read first."""

    def __init__(self, name: str, address: Address, decoder: Decoder, clock: Clock, *, listen: bool) -> None:
        self.name = name
        self._address, self._decoder, self._clock, self._listens = address, decoder, clock, listen
        self._listener: socket.socket | None = None
        self._peer: socket.socket | None = None
        self._farewell_bytes = _FAREWELL_BYTES

    @property
    def garbage(self) -> int:
        return self._decoder.garbage

    def open(self) -> None:
        self.close()
        try:
            if self._listens:
                self._listener = _listener(self._address)
            else:
                self._peer = _connection(self._address)
        except OSError as error:
            verb = "listened at" if self._listens else "reached"
            raise SourceError(f"source {self.name}: {self._address} cannot be {verb} ({error})") from error
        self._decoder.reset()

    def read(self, timeout_s: float) -> Sample | None:
        if self._peer is None and self._listener is None:
            raise SourceError(f"source {self.name}: {self._address} is not open")
        try:
            return next_sample(self._decoder, self._receive, self._clock, timeout_s)
        except (OSError, SourceError) as error:
            if not self._listens:
                self.close()
                raise SourceError(f"source {self.name}: {self._address} was lost ({error})") from error
            self._drop_peer()
            return None

    def close(self) -> None:
        self._drop_peer()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
            if self._address.path:
                Path(self._address.path).unlink(missing_ok=True)

    def _receive(self, timeout_ms: float) -> bytes:
        """What has arrived in time. poll, unlike select, works beyond descriptor 1024."""
        poller = select.poll()
        watched = {one.fileno(): one for one in (self._listener, self._peer) if one is not None}
        for fd in watched:
            poller.register(fd, select.POLLIN)
        ready = [watched[fd] for fd, _ in poller.poll(timeout_ms)]
        knocks = self._listener in ready
        if self._peer is not None and self._peer in ready and (not knocks or self._farewell_bytes > 0):
            data = self._peer.recv(_READ_BYTES)
            if not data:
                raise SourceError("the other side closed it")
            self._farewell_bytes = self._farewell_bytes - len(data) if knocks else _FAREWELL_BYTES
            return data
        if knocks:
            self._farewell_bytes = _FAREWELL_BYTES
            self._accept(self._listener)
        return b""

    def _accept(self, listener: socket.socket | None) -> None:
        if listener is None:
            return
        try:
            peer, _ = listener.accept()
        except BlockingIOError:  # gone again
            return
        self._drop_peer()
        _settle(peer)
        self._peer = peer

    def _drop_peer(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            peer.close()
            self._decoder.reset()


def _connection(address: Address) -> socket.socket:
    if address.path:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        peer.settimeout(_CONNECT_TIMEOUT_S)
        try:
            peer.connect(address.path)
        except OSError:
            peer.close()
            raise
    else:
        peer = socket.create_connection((address.host, address.port), _CONNECT_TIMEOUT_S)
    _settle(peer)
    return peer


def _settle(peer: socket.socket) -> None:
    """No waiting in calls, and a dead line is found within half a minute."""
    peer.setblocking(False)
    if peer.family != socket.AF_UNIX:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for key, value in _KEEPALIVE:
            peer.setsockopt(socket.IPPROTO_TCP, key, value)


def _listener(address: Address) -> socket.socket:
    if address.path:
        _remove_stale(address.path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        where: Any = address.path
    else:
        family, _, _, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(where)
        listener.listen(1)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_stale(path: str) -> None:
    """The socket of a process that died stays behind; one that is answered is left alone."""
    if not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
