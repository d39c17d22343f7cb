"""The requests of one model: the workers that take them, the queue before those, and what becomes of what a worker does not answer.

A worker that dies or hangs gives its requests back; they go to the head of the queue, in their order, and are asked again. The
request it was working on is suspect: when a second worker dies or hangs of it, it is answered with an error and not asked again, and
the same input is refused from then on. At its deadline a request is answered, whatever happens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.front.exchange import NOBODY, Exchange, replanned
from edge_agent.front.links import Link, Links
from edge_agent.front.loop import Loop
from edge_agent.front.quarantine import Quarantine
from edge_agent.front.served import Served
from edge_agent.front.totals import Rates, Totals

MOST_KILLED = 2

ABSENT = ("missing", "unloaded", "withdrawn")


@dataclass(frozen=True, slots=True)
class LaneRules:
    """``deadline_ns`` is the promise to the client, ``queue`` how many may wait. ``say`` speaks to the engine."""

    deadline_ns: int
    queue: int
    say: Callable[[Mapping[str, Any]], None]
    event: Callable[[str, str, str, Mapping[str, Any]], None]


class Lane:
    """``served`` is the newest version that was linked, also while no worker of it lives. ``tried_ns`` is how long the last trial took."""

    def __init__(self, name: str, loop: Loop, rules: LaneRules, wake: Callable[[], None]) -> None:
        self.name = name
        self.state = "starting"
        self.reason = ""
        self.version = ""
        self.served: Served | None = None
        self.totals = Totals()
        self.rates = Rates()
        self.poison = Quarantine()
        self.last_good: Exchange | None = None
        self.tried_ns = 0
        self._links = Links(loop, lambda number: rules.say({"event": "linked", "link": number}))
        self._queue: deque[Exchange] = deque()
        self._loop = loop
        self._rules = rules
        self._wake = wake
        self._numbers = 0

    @property
    def absent(self) -> bool:
        """Whether nobody serves and nobody is about to."""
        return self.state in ABSENT and not self.links

    @property
    def links(self) -> list[Link]:
        """Those that take requests."""
        return self._links.current

    @property
    def workers(self) -> int:
        return len(self.links)

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def in_flight(self) -> int:
        return sum(len(link.asked) for link in self._links.all())

    @property
    def busy(self) -> bool:
        return bool(self._queue) or any(link.asked for link in self._links.all())

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def submit(self, exchange: Exchange) -> None:
        """Take a request; its answerer is called once, now or later."""
        now_ns = self._loop.now_ns
        self.totals.requests += 1
        exchange.arrived_ns = now_ns
        exchange.deadline_ns = now_ns + self._rules.deadline_ns
        if len(self.poison) and self.poison.holds(exchange.fingerprint()):
            self.totals.refused += 1
            text = f"model {self.name}: this input is quarantined, two workers died or hung while they worked on it"
            exchange.answerer.failed(exchange, 422, text)
            return
        self._wake()
        link = None if self._queue else self._links.free()
        if link is not None:
            self._put(link, exchange)
        elif len(self._queue) < self._rules.queue:
            self._queue.append(exchange)
        else:
            self._reject(exchange)

    def try_canary(self, exchange: Exchange, limit_ns: int) -> None:
        """Ask ahead of what waits, to see whether an answer comes within ``limit_ns``."""
        exchange.canary = True
        exchange.arrived_ns = self._loop.now_ns
        exchange.deadline_ns = self._loop.now_ns + limit_ns
        self._wake()
        link = self._links.free()
        if link is not None:
            self._put(link, exchange)
        else:
            self._queue.appendleft(exchange)

    def add(self, link: Link) -> None:
        """Give requests to ``link`` from now on. Where it is of another version than the others, those still answer what they owe."""
        self._links.add(link, self._hear)
        self.served = link.served
        self._links.settle()
        self._feed()

    def lose(self, number: int) -> None:
        """The worker of link ``number`` is dead."""
        link = self._links.find(number)
        if link is not None:
            self._drop(link)
        if self.absent:
            self.withdraw()

    def withdraw(self) -> None:
        """The model is no longer served: what waits is refused, what is asked is given up."""
        given_up = [e for link in self._links.all() for e in link.asked.values()] + list(self._queue)
        self._links.clear()
        self._queue.clear()
        self.served, self.last_good = None, None
        for exchange in given_up:
            self._fail(exchange, 503, f"model {self.name} was taken out of service")

    def check(self) -> None:
        """Look for workers that hang and for requests whose time is over."""
        now_ns = self._loop.now_ns
        half_ns = self._rules.deadline_ns // 2
        for link in self._links.all():
            if link.asked and now_ns - max(next(iter(link.asked.values())).asked_ns, link.last_answer_ns) > half_ns:
                self._hung(link)
        for link in self._links.all():
            for exchange in [e for e in link.asked.values() if now_ns >= e.deadline_ns and e.answerer is not NOBODY]:
                if link.asked.get(exchange.number) is exchange:  # else the link was given up for the one before it
                    self._overdue(exchange, link)
        if self._queue:
            late = [e for e in self._queue if now_ns >= e.deadline_ns]
            for exchange in late:
                self._queue.remove(exchange)
                self._expire(exchange)

    def look(self) -> None:
        """Once a second: the rates."""
        answers, busy_ns = 0, 0
        for link in self.links:
            answers, busy_ns = answers + link.answers, busy_ns + link.busy_ns
            link.answers, link.busy_ns = 0, 0
        self.rates.look(self._loop.now_ns, self.totals.requests, answers, busy_ns)

    def _put(self, link: Link, exchange: Exchange) -> None:
        exchange.asked_ns = self._loop.now_ns
        if exchange.plan.served is not link.served:
            plan = replanned(exchange.plan, link.served)
            if plan is None:
                text = f"model {self.name}: version {link.served.version} serves now, and takes other inputs"
                self._fail(exchange, 400, text)
                return
            exchange.plan = plan
        link.put(exchange)
        if link.at_once:
            self._hear(link)

    def _hear(self, link: Link) -> None:
        """Answers have come."""
        self._take_answers(link)
        if self._queue:
            self._feed()
        if self._links.old:
            self._links.settle()

    def _take_answers(self, link: Link) -> None:
        now_ns, totals = self._loop.now_ns, self.totals
        for exchange, base, refused, model_us in link.answered():
            # A worker answers one request after the other: this one's turn came when the one before it was answered.
            began_ns = max(exchange.asked_ns, link.last_answer_ns)
            link.busy_ns += now_ns - began_ns
            link.last_answer_ns = now_ns
            link.answers += 1
            if refused >= 0:
                totals.refused += not exchange.canary and exchange.answerer is not NOBODY
                exchange.answerer.failed(exchange, 400, f"model {self.name}: {link.text(base, refused)}")
                continue
            if exchange.canary:
                totals.last_answer_ns = now_ns
                self.tried_ns = now_ns - began_ns
            elif exchange.answerer is not NOBODY:
                totals.answer(now_ns, exchange.arrived_ns, began_ns, model_us)
                self.last_good = exchange
            exchange.answerer.done(exchange, *link.values(base))

    def _feed(self) -> None:
        """Give what waits to workers with a free slot."""
        while self._queue:
            link = self._links.free()
            if link is None:
                return
            self._put(link, self._queue.popleft())

    def _hung(self, link: Link) -> None:
        self._rules.say({"event": "hung", "link": link.link})
        self._drop(link)

    def _drop(self, link: Link) -> None:
        """The worker of ``link`` will not answer: its requests are asked again, ahead of what waits."""
        self._take_answers(link)
        begun = [exchange for exchange in link.asked.values() if link.taken(exchange)]
        owed = list(link.asked.values())
        link.asked.clear()
        self._links.forget(link)
        for exchange in begun:
            exchange.killed += 1
        self._queue.extendleft(reversed([exchange for exchange in owed if self._asked_again(exchange)]))
        self._links.settle()
        self._feed()

    def _asked_again(self, exchange: Exchange) -> bool:
        """Whether a request of a lost worker gets another one; otherwise it is answered here."""
        if exchange.killed >= MOST_KILLED:
            self._condemn(exchange)
            text = f"model {self.name}: {MOST_KILLED} workers died or hung while they worked on this input; it is quarantined"
            self._fail(exchange, 500, text)
            return False
        if exchange.canary or exchange.answerer is NOBODY:
            self._fail(exchange, 503, f"model {self.name}: the worker did not answer")
            return False
        self.totals.replayed += 1
        return True

    def _overdue(self, exchange: Exchange, link: Link) -> None:
        """Its time is over while a worker has it. The second worker in a row that sits on it is taken for hung."""
        again = exchange.killed > 0 and link.taken(exchange)
        self._expire(exchange)
        exchange.answerer = NOBODY
        if again and not exchange.canary:
            self._hung(link)

    def _expire(self, exchange: Exchange) -> None:
        if exchange.answerer is NOBODY:
            return  # it was answered at its deadline already
        if exchange.canary:
            self._fail(exchange, 504, f"model {self.name}: no answer in time")
            return
        self.totals.timed_out += 1
        self.totals.failed_ns += self._loop.now_ns - exchange.arrived_ns
        text = f"model {self.name}: no answer within {self._rules.deadline_ns / 1e6:.0f} ms"
        if not self.links:
            text += f", no worker is ready ({self.reason or self.state})" if self.state != "serving" else ", no worker is ready"
        exchange.answerer.failed(exchange, 504, text)

    def _fail(self, exchange: Exchange, status: int, text: str) -> None:
        if not exchange.canary and exchange.answerer is not NOBODY:
            self.totals.failed += 1
            self.totals.failed_ns += self._loop.now_ns - exchange.arrived_ns
        exchange.answerer.failed(exchange, status, text)

    def _condemn(self, exchange: Exchange) -> None:
        self.poison.add(exchange.fingerprint())
        self.totals.quarantined += 1
        text = f"model {self.name}: an input that two workers died or hung of is quarantined"
        self._rules.event("input_quarantined", "error", text, {"model": self.name})

    def _reject(self, exchange: Exchange) -> None:
        self.totals.rejected += 1
        wait_s = self.rates.wait_s(len(self._queue), self.workers)
        text = f"model {self.name}: {len(self._queue)} requests wait already; try again in {wait_s} s"
        exchange.answerer.failed(exchange, 429, text, b"Retry-After: %d\r\n" % wait_s)
