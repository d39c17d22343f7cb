"""Several subjects measured side by side: a round of each in turn, so that whatever changes meanwhile changes for all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from edge_agent.bench import BenchResult, OpTime, Round, by_operator, summarize
from edge_agent.bench_apart import Apart
from edge_agent.bench_disturbance import Disturbance
from edge_agent.bench_subject import Subject

DEFAULT_S = 1.0
OP_RUNS = 50
_MOST_IN_A_ROUND = 100_000


@dataclass(frozen=True, slots=True)
class Plan:
    """``runs`` timed inferences of each subject and ``seconds`` of them at most, where given, in ``rounds`` turns, after ``warmup`` untimed
    ones; with ``ops`` another pass tells the time by operator. One second when neither is said."""

    runs: int | None = None
    seconds: float | None = None
    warmup: int = 20
    rounds: int = 10
    ops: bool = False

    @property
    def turns(self) -> int:
        return self.rounds if self.runs is None else min(self.rounds, self.runs)

    def of_turn(self, turn: int) -> tuple[int, float]:
        """Inferences and seconds at most of one subject in ``turn``; the inferences of all turns add up to ``runs``."""
        seconds = DEFAULT_S if self.runs is None and self.seconds is None else self.seconds
        share_s = float("inf") if seconds is None else seconds / self.turns
        if self.runs is None:
            return _MOST_IN_A_ROUND, share_s
        return self.runs * (turn + 1) // self.turns - self.runs * turn // self.turns, share_s


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
        summarize(subject, of, mine, rounds[0], peak, *told)
        for subject, of, mine, peak, told in zip(subjects, loaded, rounds, peaks, ops, strict=True)
    ]


def _ops(apart: Apart, plan: Plan) -> tuple[list[OpTime], str]:
    if not plan.ops:
        return [], ""
    nodes, note = apart.ops(OP_RUNS)
    return [*by_operator(nodes), *nodes], note
