"""Several subjects measured side by side: a round of each in turn, so that whatever changes meanwhile changes for all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from edge_agent.bench import BenchResult, Loaded, OpTime, Round, Subject, by_operator, summarize
from edge_agent.bench_apart import Apart
from edge_agent.bench_disturbance import Disturbance

_MOST_IN_A_ROUND = 100_000


@dataclass(frozen=True, slots=True)
class Plan:
    """``runs`` timed inferences of each subject (or ``seconds`` of them, when given) over ``rounds``, after ``warmup`` untimed ones; with
    ``ops`` another pass tells the time by operator."""

    runs: int = 200
    warmup: int = 20
    seconds: float | None = None
    rounds: int = 10
    ops: bool = False

    @property
    def turns(self) -> int:
        return self.rounds if self.seconds is not None else min(self.rounds, self.runs)

    def of_turn(self, turn: int) -> tuple[int, float]:
        """Inferences and seconds at most of one subject in ``turn``; the inferences of all turns add up to ``runs``."""
        if self.seconds is not None:
            return _MOST_IN_A_ROUND, self.seconds / self.turns
        return self.runs * (turn + 1) // self.turns - self.runs * turn // self.turns, float("inf")


def measure(subjects: Sequence[Subject], plan: Plan, disturbance: Disturbance) -> list[BenchResult]:
    """Each subject measured, in the order given; ratios are to the first. Raises ModelError, BundleError or RuntimeMissing for the first
    that cannot be."""
    with ExitStack() as stack:
        held = [stack.enter_context(Apart(subject)) for subject in subjects]
        loaded = [apart.load(plan.warmup) for apart in held]
        rounds: list[list[Round]] = [[] for _ in held]
        peaks = [0.0] * len(held)
        for turn in range(plan.turns):
            for index, apart in enumerate(held):
                seen = apart.round(*plan.of_turn(turn))
                peaks[index] = max(peaks[index], seen.peak_mib)
                rounds[index].append(replace(seen.round, disturbed=disturbance.after(seen.round)))
        ops = [_ops(apart, plan) for apart in held]
    return [
        _result(subject, of, mine, rounds[0], peak, told)
        for subject, of, mine, peak, told in zip(subjects, loaded, rounds, peaks, ops, strict=True)
    ]


def _ops(apart: Apart, plan: Plan) -> tuple[list[OpTime], str]:
    if not plan.ops:
        return [], ""
    nodes, note = apart.ops(max(1, min(plan.runs, 100)))
    return [*by_operator(nodes), *nodes], note


def _result(
    subject: Subject, loaded: Loaded, mine: list[Round], first: list[Round], peak_mib: float, told: tuple[list[OpTime], str]
) -> BenchResult:
    return summarize(subject, loaded, mine, first, peak_mib, *told)
