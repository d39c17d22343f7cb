"""Triton's statistics of a model, and ours beside them."""

from __future__ import annotations

from typing import Any

from edge_agent.clock import Clock
from edge_agent.front.lane import Lane
from edge_agent.front.loop import Loop


class Statistics:
    """Reads lanes when asked."""

    def __init__(self, loop: Loop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock

    def of(self, lane: Lane) -> dict[str, Any]:
        """One entry of ``model_stats``. ``version`` is a number, clients read it as one; ``version_name`` is the version itself."""
        totals, served = lane.totals, lane.served
        count = totals.answered
        handover_ns = max(0, totals.total_ns - totals.queue_ns - totals.model_ns)
        return {
            "name": lane.name,
            "version": version_number(served.version, served.number) if served is not None else "",
            "version_name": served.version if served is not None else lane.version,
            "last_inference": self._wall_ms(totals.last_answer_ns),
            "inference_count": count,
            "execution_count": count,
            "inference_stats": {
                "success": _pair(count, totals.total_ns),
                "fail": _pair(totals.errors, totals.failed_ns),
                "queue": _pair(count, totals.queue_ns),
                "compute_input": _pair(count, handover_ns),
                "compute_infer": _pair(count, totals.model_ns),
                "compute_output": _pair(count, 0),
                "cache_hit": _pair(0, 0),
                "cache_miss": _pair(0, 0),
            },
            "batch_stats": [],
            "memory_usage": [],
            "service": self.service(lane),
        }

    def service(self, lane: Lane) -> dict[str, Any]:
        """Load and room: arrivals, service rate of one worker, workers, utilisation, queue; and what became of all requests."""
        rates = lane.rates
        return {
            "lambda_per_s": round(rates.arrivals_hz, 3),
            "mu_per_s": round(rates.service_hz, 3),
            "workers": lane.workers,
            "rho": round(rates.utilisation(lane.workers), 4),
            "waiting": lane.waiting,
            "in_flight": lane.in_flight,
            **lane.totals.counters(),
        }

    def _wall_ms(self, then_ns: int) -> int:
        if not then_ns:
            return 0
        return (self._clock.wall_ns() - (self._loop.now_ns - then_ns)) // 1_000_000


def version_number(version: str, number: int) -> str:
    """``version`` where it is a whole number, else how many versions were served before it."""
    return version if version.isascii() and version.isdigit() else str(number)


def _pair(count: int, ns: int) -> dict[str, int]:
    return {"count": count, "ns": ns}
