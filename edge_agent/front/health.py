"""Whether an inference would succeed now: from the last half second, or by trying one.

The try is a real request with the last good input, or zeros, asked ahead of what waits. A model that refuses it proves its worker
alive all the same. Nothing is done while nobody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edge_agent.front.exchange import Exchange, InputPlan, Shape, input_plan
from edge_agent.front.lane import Lane
from edge_agent.front.loop import Loop
from edge_agent.front.served import Served
from edge_agent.telemetry.latency import percentile

FRESH_NS = 500_000_000
CACHED_NS = 250_000_000
LEAST_NS = 200_000_000
MOST_NS = 900_000_000
TIMES_P99 = 4
SLOW_P99 = 1.5
"""A model that needs longer than a second is given this many times what it needs."""
Verdict = Callable[[bool, str], None]


class _Try:
    """Takes the answer of one trial request for all who asked meanwhile."""

    def __init__(self, health: Health, lane: Lane) -> None:
        self._health = health
        self._lane = lane
        self.waiting: list[Verdict] = []

    def done(self, exchange: Exchange, values: Sequence[Any], shapes: Sequence[Shape]) -> None:
        self._health.settle(self._lane, self, True, "")

    def failed(self, exchange: Exchange, status: int, text: str, extra: bytes = b"") -> None:
        self._health.settle(self._lane, self, status == 400, text)


class Health:
    """Asked by readiness calls of every protocol."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._tries: dict[str, _Try] = {}
        self._results: dict[str, tuple[int, bool, str]] = {}

    def ask(self, lane: Lane, verdict: Verdict) -> None:
        """Call ``verdict(ready, why not)``, at once or within 900 ms; later only where the model itself takes longer than 600 ms."""
        now_ns = self._loop.now_ns
        if lane.served is None:
            verdict(False, f"model {lane.name} is not served: {lane.reason or lane.state}")
            return
        if lane.totals.last_answer_ns and now_ns - lane.totals.last_answer_ns <= FRESH_NS:
            verdict(True, "")
            return
        known = self._results.get(lane.name)
        if known is not None and now_ns - known[0] <= CACHED_NS:
            verdict(known[1], known[2])
            return
        running = self._tries.get(lane.name)
        if running is None:
            self._try(lane, verdict)
        else:
            running.waiting.append(verdict)

    def ask_all(self, lanes: Sequence[Lane], verdict: Verdict) -> None:
        """Ready when every one of ``lanes`` is, and there is one."""
        if not lanes:
            verdict(False, "no model is served")
            return
        left = len(lanes)
        answered = False

        def one(ready: bool, why: str) -> None:
            nonlocal left, answered
            left -= 1
            if not answered and (not ready or not left):
                answered = True
                verdict(ready, why)

        for lane in lanes:
            self.ask(lane, one)

    def settle(self, lane: Lane, ended: _Try, ready: bool, why: str) -> None:
        """A trial request was answered, or was not in time."""
        if self._tries.get(lane.name) is ended:
            del self._tries[lane.name]
            self._results[lane.name] = (self._loop.now_ns, ready, why)
        for verdict in ended.waiting:
            verdict(ready, why)

    def _try(self, lane: Lane, verdict: Verdict) -> None:
        attempt = _Try(self, lane)
        attempt.waiting.append(verdict)
        self._tries[lane.name] = attempt
        lane.try_canary(trial_request(lane, attempt), limit_ns(lane))


def limit_ns(lane: Lane) -> int:
    """How long a trial may take: by what the model took before, or by what the first trial took that nobody waited for to its end."""
    if not lane.totals.answered and not lane.tried_ns:
        return MOST_NS
    needed_ns = max(lane.tried_ns, int(percentile(lane.totals.total.snapshot(), 99) * 1000))
    return max(min(MOST_NS, max(LEAST_NS, TIMES_P99 * needed_ns)), int(SLOW_P99 * needed_ns))


def trial_request(lane: Lane, answerer: _Try) -> Exchange:
    """The last good request again, or zeros."""
    served = lane.served
    assert served is not None
    good = lane.last_good
    if good is not None and good.plan.served is served:
        return Exchange(answerer, good.plan, good.body, good.at, good.buffers)
    plan: InputPlan = served.once("zeros", lambda: _zeros(served))
    return Exchange(answerer, plan, b"", 0, [bytes(size) for _, size in plan.copies])


def _zeros(served: Served) -> InputPlan:
    specs = served.manifest.inputs
    shapes = [tuple(1 if size is None else size for size in spec.shape) for spec in specs]
    return input_plan(served, [served.inputs[spec.name] for spec in specs], shapes, [spec.bytes_for(1) for spec in specs])
