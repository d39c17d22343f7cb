"""How long a client may take, on a clock that the test moves."""

from __future__ import annotations

import socket

import pytest

from edge_agent.clock import ManualClock
from edge_agent.front.body_room import BodyRoom
from edge_agent.front.connection import Connection
from edge_agent.front.http_head import Head
from edge_agent.front.listeners import Limits, Listeners
from edge_agent.front.loop import Loop
from edge_agent.front.quarantine import Quarantine
from edge_agent.front.shared import Shared
from edge_agent.front.totals import Rates

LIMITS = Limits(head_ns=10_000_000_000, body_ns=60_000_000_000, idle_ns=180_000_000_000, stuck_ns=30_000_000_000)


class Stage:
    """One connection without a process around it; its handler answers with ``size`` bytes, or never."""

    def __init__(self, size: int = 2, limits: Limits = LIMITS) -> None:
        self.clock = ManualClock()
        self.loop = Loop(self.clock)
        self.listeners = Listeners(self.loop, limits, lambda: None)
        self.client, ours = socket.socketpair()
        ours.setblocking(False)
        self.client.setblocking(False)
        self.bugs: list[BaseException] = []
        self._size = size
        shared = Shared(self.loop, self._route, b"", lambda _: True, 1 << 20, BodyRoom(1 << 21), self.listeners.gone, self.bugs.append)
        self.shared = shared
        self.connection = Connection(shared, ours)
        self.listeners.connections.add(self.connection)

    def _route(self, head: Head) -> object:
        def handle(connection: Connection, body: bytes) -> None:
            connection.finish(b"x" * self._size)

        return handle

    def send(self, data: bytes) -> None:
        self.client.send(data)
        self.connection.ready(1)

    def after(self, seconds: float) -> None:
        self.clock.advance_s(seconds)
        self.loop.now_ns = self.clock.monotonic_ns()
        self.listeners.sweep()

    @property
    def open(self) -> bool:
        return self.connection in self.listeners.connections

    def read(self) -> bytes:
        try:
            return self.client.recv(1 << 16)
        except BlockingIOError:
            return b""


def test_a_head_that_dribbles_is_ended_with_an_answer() -> None:
    stage = Stage()
    stage.send(b"GET / HT")
    stage.after(9)
    stage.send(b"TP")
    assert stage.read() == b""
    stage.after(2)
    assert stage.read().startswith(b"HTTP/1.1 408 ")
    stage.after(3)
    assert not stage.open


def test_a_body_that_never_ends_is_ended() -> None:
    stage = Stage()
    stage.send(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc")
    stage.after(59)
    assert stage.open and stage.read() == b""
    stage.after(2)
    assert stage.read().startswith(b"HTTP/1.1 408 ")


def test_a_kept_connection_may_be_idle_for_long_but_not_for_ever() -> None:
    stage = Stage()
    stage.send(b"GET / HTTP/1.1\r\n\r\n")
    assert stage.read() == b"xx"
    stage.after(170)
    assert stage.open
    stage.after(20)
    assert not stage.open


@pytest.mark.parametrize(("idle_s", "let_in"), [(5, False), (15, True)])
def test_who_is_idle_for_long_makes_room_for_who_finds_none(idle_s: float, let_in: bool) -> None:
    stage = Stage(limits=Limits(connections=1))
    stage.send(b"GET / HTTP/1.1\r\n\r\n")
    assert stage.read() == b"xx"
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as late:
        listening.setblocking(False)
        stage.listeners.add(listening, stage.shared)
        stage.clock.advance_s(idle_s)
        stage.loop.later(0, stage.loop.stop)
        stage.loop.run()
        assert (stage.open, stage.listeners.refused) == (not let_in, int(not let_in))
        late.settimeout(0.1)
        if let_in:
            with pytest.raises(TimeoutError):
                late.recv(1)
        else:
            assert late.recv(100).startswith(b"HTTP/1.1 503 ")


def test_a_client_that_does_not_read_its_answer_is_let_go() -> None:
    stage = Stage(size=8 << 20)
    stage.send(b"GET / HTTP/1.1\r\n\r\n")
    assert stage.connection.stuck
    stage.after(29)
    assert stage.open
    stage.after(2)
    assert not stage.open


def test_a_large_answer_is_written_as_the_client_reads() -> None:
    stage = Stage(size=8 << 20)
    stage.send(b"GET / HTTP/1.1\r\n\r\n")
    got = 0
    while got < 8 << 20:
        got += len(stage.read())
        stage.connection.ready(4)
    assert stage.open and not stage.connection.stuck
    stage.send(b"GET / HTTP/1.1\r\n\r\n")
    assert stage.read()


def test_an_oversized_quarantine_forgets_what_was_seen_longest_ago() -> None:
    quarantine = Quarantine(most=2)
    for word in (b"a", b"b"):
        quarantine.add(word)
    assert quarantine.holds(b"a")
    quarantine.add(b"c")
    assert [quarantine.holds(word) for word in (b"a", b"b", b"c")] == [True, False, True]


def test_rates_follow_what_is_measured() -> None:
    rates = Rates()
    for second in range(1, 60):
        rates.look(second * 1_000_000_000, second * 50, answers=50, busy_ns=250_000_000)
    assert rates.arrivals_hz == pytest.approx(50, rel=0.01)
    assert rates.service_hz == pytest.approx(200, rel=0.01)
    assert rates.utilisation(1) == pytest.approx(0.25, rel=0.02)
    assert rates.utilisation(2) == pytest.approx(0.125, rel=0.02)
    assert [rates.wait_s(waiting, 1) for waiting in (0, 150, 500, 10**9)] == [1, 1, 3, 60]
