"""What the API tells the engine of itself: a heartbeat each second, with counters and latencies while they change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from edge_agent.front.lane import Lane
from edge_agent.front.listeners import Listeners
from edge_agent.front.totals import snapshot_tree


class Status:
    """Call :meth:`tell` once a second."""

    def __init__(self, say: Callable[[Mapping[str, Any]], None], listeners: Listeners) -> None:
        self._say = say
        self._listeners = listeners
        self._told: dict[str, dict[str, Any]] = {}

    def tell(self, lanes: Iterable[Lane]) -> None:
        """``requests`` and ``settled`` show progress; ``busy`` says that something waits for it. ``models`` are those that changed."""
        changed, requests, settled, busy = {}, 0, 0, False
        for lane in lanes:
            totals = lane.totals
            requests += totals.requests
            settled += totals.answered + totals.errors
            busy = busy or lane.busy
            brief = {
                **totals.counters(),
                "workers": lane.workers,
                "waiting": lane.waiting,
                "digest": lane.served.digest if lane.served else "",
            }
            if self._told.get(lane.name) != brief:
                self._told[lane.name] = brief
                changed[lane.name] = {**brief, "latency": {"total": snapshot_tree(totals.total.snapshot())}, "rates": _rates(lane)}
        self._say(
            {
                "event": "status",
                "requests": requests,
                "settled": settled,
                "busy": busy,
                "connections": len(self._listeners.connections),
                "models": changed,
            }
        )


def _rates(lane: Lane) -> dict[str, float]:
    rates = lane.rates
    return {"lambda_per_s": rates.arrivals_hz, "mu_per_s": rates.service_hz, "rho": rates.utilisation(lane.workers)}
