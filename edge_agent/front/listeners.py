"""Accepting clients, as many as fit, and letting go of those that keep a connection without using it."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.front.connection import BODY, CHUNKS, HEAD, LINGER, Connection
from edge_agent.front.loop import Loop
from edge_agent.front.shared import Shared

MOST_CONNECTIONS = 256
SWEEP_NS = 1_000_000_000
AGAIN_NS = 100_000_000
HEAD_LIMIT_NS = 10_000_000_000
BODY_LIMIT_NS = 60_000_000_000
IDLE_LIMIT_NS = 180_000_000_000
LINGER_LIMIT_NS = 2_000_000_000
STUCK_LIMIT_NS = 30_000_000_000
SPARE_NS = 10_000_000_000
"""Who has been idle for so long makes room for a client that finds none: connections kept for nothing must not keep others out."""
_ACCEPTS_A_TURN = 16
_TURNED_AWAY = 64
"""Clients beyond the limit that are told so and then let go; those beyond these are let go without a word."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many clients, and how long each may take: for a head, for a body, for nothing, for reading its answer."""

    connections: int = MOST_CONNECTIONS
    head_ns: int = HEAD_LIMIT_NS
    body_ns: int = BODY_LIMIT_NS
    idle_ns: int = IDLE_LIMIT_NS
    stuck_ns: int = STUCK_LIMIT_NS


class Listeners:
    """The listening sockets and the connections made through them."""

    def __init__(self, loop: Loop, limits: Limits, on_full: Callable[[], None]) -> None:
        self._loop = loop
        self._limits = limits
        self._on_full = on_full
        self._sockets: list[socket.socket] = []
        self.connections: set[Connection] = set()
        self.refused = 0

    def add(self, sock: socket.socket, shared: Shared) -> None:
        """Accept on ``sock``, which is ours from now on."""
        sock.setblocking(False)
        self._sockets.append(sock)
        self._loop.watch(sock.fileno(), lambda _: self._accept(sock, shared))

    def hold(self) -> None:
        """Let who comes wait in the kernel's queue until :meth:`admit`."""
        for sock in self._sockets:
            self._loop.change(sock.fileno(), 0)

    def admit(self) -> None:
        for sock in self._sockets:
            self._loop.change(sock.fileno(), select.EPOLLIN)

    def gone(self, connection: Connection) -> None:
        self.connections.discard(connection)

    def close(self) -> None:
        """Accept no more. The sockets stay open in the process that bound them."""
        for sock in self._sockets:
            self._loop.unwatch(sock.fileno())
            sock.close()
        self._sockets = []

    def sweep(self) -> None:
        """Close what took too long; call it about once a second."""
        now_ns = self._loop.now_ns
        for connection in list(self.connections):
            self._check(connection, now_ns - connection.began_ns)

    def _check(self, connection: Connection, waited_ns: int) -> None:
        limits, state = self._limits, connection.state
        if connection.stuck:
            if waited_ns > limits.stuck_ns:
                connection.close()
        elif state == HEAD and connection.idle:
            if waited_ns > limits.idle_ns:
                connection.close()
        elif (
            (state == HEAD and waited_ns > limits.head_ns)
            or (state in (BODY, CHUNKS) and waited_ns > limits.body_ns)
            or (state == LINGER and waited_ns > LINGER_LIMIT_NS)
        ):
            connection.close_late()

    def _accept(self, listening: socket.socket, shared: Shared) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            try:
                sock, _ = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                    self._pause(listening)
                return
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            room = self._limits.connections - len(self.connections)
            if room > -_TURNED_AWAY:
                room += room <= 0 and self._made_room()
                connection = Connection(shared, sock)
                self.connections.add(connection)
                if room <= 0:
                    self._turn_away(connection)
            else:
                self.refused += 1
                sock.close()

    def _made_room(self) -> bool:
        """Let go of the client that has been idle the longest, where that is long."""
        idle = min((one for one in self.connections if one.idle), key=lambda one: one.began_ns, default=None)
        if idle is None or self._loop.now_ns - idle.began_ns < SPARE_NS:
            return False
        idle.close()
        return True

    def _turn_away(self, connection: Connection) -> None:
        self.refused += 1
        self._on_full()
        text = f"{self._limits.connections} clients are connected, more are not taken"
        connection.turn_away(503, text, b"Retry-After: 1\r\n")

    def _pause(self, listening: socket.socket) -> None:
        """No descriptor is free: a listening socket that stays ready must not keep the loop spinning."""
        self._loop.change(listening.fileno(), 0)
        self._loop.later(AGAIN_NS, lambda: self._resume(listening))

    def _resume(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.change(listening.fileno(), select.EPOLLIN)
