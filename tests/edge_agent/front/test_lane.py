"""The requests of one model, moment by moment: a clock and links that the test moves."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from edge_agent.front.exchange import Exchange, InputPlan
from edge_agent.front.lane import Lane, LaneRules
from edge_agent.front.loop import Loop

DEADLINE_NS = 1_000_000_000


class StillClock:
    """Stands still."""

    def monotonic_ns(self) -> int:
        return 1

    def wall_ns(self) -> int:
        return 1


class SilentLink:
    """A worker that begins on its first request and never answers."""

    at_once = False

    def __init__(self, link: int, served: Any) -> None:
        self.link, self.served = link, served
        self.asked: dict[int, Exchange] = {}
        self.last_answer_ns = self.busy_ns = self.answers = 0
        self.response_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._next = 0

    @property
    def free(self) -> bool:
        return len(self.asked) < 4

    def put(self, exchange: Exchange) -> None:
        exchange.number = self._next
        self._next += 1
        self.asked[exchange.number] = exchange

    def answered(self) -> list[Any]:
        os.fstat(self.response_fd)  # a link that was closed cannot be read
        return []

    def taken(self, exchange: Exchange) -> bool:
        return exchange.number == 0

    def close(self) -> None:
        os.close(self.response_fd)


class Heard:
    """What clients were told."""

    def __init__(self) -> None:
        self.statuses: list[int] = []

    def done(self, exchange: Exchange, values: Sequence[Any], shapes: Sequence[Any]) -> None:
        raise AssertionError("nobody answers here")

    def failed(self, exchange: Exchange, status: int, text: str, extra: bytes = b"") -> None:
        self.statuses.append(status)


def test_two_requests_that_are_late_on_one_worker_are_answered_once_each() -> None:
    told: list[Mapping[str, Any]] = []
    loop = Loop(StillClock())
    lane = Lane("m", loop, LaneRules(DEADLINE_NS, 8, told.append, lambda *_: None), lambda: None)
    served: Any = object()
    heard, plan = Heard(), InputPlan(served, (), (), (), (), 0)
    first, second = SilentLink(1, served), SilentLink(2, served)
    lane.add(first)  # type: ignore[arg-type]
    for _ in range(2):
        exchange = Exchange(heard, plan, b"", 0)
        lane.submit(exchange)
        exchange.killed = 1  # it hung a worker before
    lane.add(second)  # type: ignore[arg-type]
    loop.now_ns += DEADLINE_NS
    first.last_answer_ns = loop.now_ns  # not silent for long: each request is late by itself
    for _ in range(3):
        lane.check()
    assert heard.statuses == [504, 504]
    assert [message["link"] for message in told if message["event"] == "hung"][:1] == [1]
    totals = lane.totals
    assert (totals.requests, totals.timed_out, totals.failed) == (2, 2, 0)
    loop.close()
