"""What is counted of one model in the API, and the rates that follow from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from edge_agent.telemetry.latency import LatencyHistogram
from edge_agent.values import HistogramSnapshot

_WEIGHT = 0.3
"""Of the newest second in a smoothed rate."""


@dataclass(slots=True)
class Totals:
    """Since the process started. Sums in nanoseconds; ``total`` and ``queue`` are histograms of microseconds.

    requests = answered + refused + rejected + failed + timed out + in flight. ``refused`` by the model or for its input,
    ``rejected`` because the queue was full.
    """

    requests: int = 0
    answered: int = 0
    refused: int = 0
    rejected: int = 0
    failed: int = 0
    timed_out: int = 0
    replayed: int = 0
    quarantined: int = 0
    total_ns: int = 0
    queue_ns: int = 0
    model_ns: int = 0
    failed_ns: int = 0
    last_answer_ns: int = 0
    total: LatencyHistogram = field(default_factory=LatencyHistogram)

    def answer(self, now_ns: int, arrived_ns: int, began_ns: int, model_us: float) -> None:
        """Count one request that was answered now, and whose turn with a worker came at ``began_ns``."""
        total_ns = now_ns - arrived_ns
        self.answered += 1
        self.total_ns += total_ns
        self.queue_ns += began_ns - arrived_ns
        self.model_ns += int(model_us * 1000)
        self.last_answer_ns = now_ns
        self.total.record(total_ns / 1000)

    @property
    def errors(self) -> int:
        return self.refused + self.rejected + self.failed + self.timed_out

    def counters(self) -> dict[str, int]:
        """As told to the engine and to people."""
        return {
            "requests": self.requests,
            "answered": self.answered,
            "refused": self.refused,
            "rejected": self.rejected,
            "failed": self.failed,
            "timed_out": self.timed_out,
            "replayed": self.replayed,
            "quarantined": self.quarantined,
        }


class Rates:
    """Arrivals a second, answers a second that a worker could give, both smoothed over some seconds."""

    def __init__(self) -> None:
        self.arrivals_hz = 0.0
        self.service_hz = 0.0
        self._requests = 0
        self._seen_ns = 0

    def look(self, now_ns: int, requests: int, answers: int, busy_ns: int) -> None:
        """Called about once a second; ``answers`` and ``busy_ns`` are of the workers, since the last look."""
        if self._seen_ns:
            elapsed_s = max(1e-3, (now_ns - self._seen_ns) / 1e9)
            newest_hz = (requests - self._requests) / elapsed_s
            self.arrivals_hz += _WEIGHT * (newest_hz - self.arrivals_hz)
            if self.arrivals_hz < 0.01:
                self.arrivals_hz = 0.0
        self._requests, self._seen_ns = requests, now_ns
        if answers and busy_ns:
            newest_hz = answers * 1e9 / busy_ns
            self.service_hz = newest_hz if not self.service_hz else self.service_hz + _WEIGHT * (newest_hz - self.service_hz)

    def utilisation(self, workers: int) -> float:
        """Arrivals over what all workers could answer; 0 before anything was measured."""
        return self.arrivals_hz / (self.service_hz * workers) if self.service_hz and workers else 0.0

    def wait_s(self, waiting: int, workers: int) -> int:
        """Whole seconds until ``waiting`` requests are worked off, at least one."""
        service_hz = self.service_hz * max(1, workers)
        return max(1, min(60, math.ceil(waiting / service_hz))) if service_hz else 1


def snapshot_tree(snapshot: HistogramSnapshot) -> dict[str, Any]:
    """A histogram in the form in which it travels."""
    return {"counts": {str(index): count for index, count in snapshot.counts.items()}, "max_us": snapshot.max_us}
