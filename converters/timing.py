"""Latency of several models against each other: in turn, so that a busy moment of the machine falls on all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_agent.clock import Clock

Run = Callable[[Mapping[str, Any]], Any]
WARM_UP = 3
BURST_US = 2000.0
MIN_ROUNDS = 9
MAX_ROUNDS = 101


@dataclass(frozen=True, slots=True)
class Latency:
    """Microseconds of one inference, one thread: median and 95th percentile of the rounds' means."""

    median_us: float
    p95_us: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as long one model takes as another: median over rounds, and the interval that holds it 95 times in 100."""

    median: float
    low: float
    high: float


def measure(runs: Sequence[tuple[Run, Sequence[Mapping[str, Any]]]], clock: Clock, *, budget_s: float) -> list[list[float]]:
    """For each model the mean microseconds of an inference in each round. A round runs every model for about ``BURST_US`` or once."""
    bursts = [_burst(run, feeds, clock) for run, feeds in runs]
    rounds: list[list[float]] = [[] for _ in runs]
    end_ns = clock.monotonic_ns() + int(budget_s * 1e9)
    while len(rounds[0]) < MAX_ROUNDS and (len(rounds[0]) < MIN_ROUNDS or clock.monotonic_ns() < end_ns):
        for (run, feeds), burst, spent in zip(runs, bursts, rounds, strict=True):
            spent.append(_mean_us(run, feeds, burst, clock))
    return rounds


def latency(rounds_us: Sequence[float]) -> Latency:
    return Latency(float(np.median(rounds_us)), float(np.percentile(rounds_us, 95)))


def ratio(rounds_us: Sequence[float], reference_us: Sequence[float]) -> Ratio:
    """Round by round. The interval is that of order statistics for a median (Conover, Practical Nonparametric Statistics, 3.2)."""
    ratios = np.sort(np.asarray(rounds_us) / np.asarray(reference_us))
    count = len(ratios)
    reach = 0.98 * np.sqrt(count)
    low = max(int(np.floor(count / 2 - reach)), 0)
    high = min(int(np.ceil(count / 2 + reach)), count - 1)
    return Ratio(float(np.median(ratios)), float(ratios[low]), float(ratios[high]))


def _burst(run: Run, feeds: Sequence[Mapping[str, Any]], clock: Clock) -> int:
    for index in range(WARM_UP):
        run(feeds[index % len(feeds)])
    return int(max(1, min(200, BURST_US / max(_mean_us(run, feeds, 3, clock), 1.0))))


def _mean_us(run: Run, feeds: Sequence[Mapping[str, Any]], count: int, clock: Clock) -> float:
    start_ns = clock.monotonic_ns()
    for index in range(count):
        run(feeds[index % len(feeds)])
    return (clock.monotonic_ns() - start_ns) / 1000.0 / count
