"""Which of the candidates that passed is packed, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from converters.candidates import Candidate
from converters.evaluate import Evaluation
from converters.gate import Judgement
from converters.proofs import Elsewhere
from converters.timing import Latency, Ratio, ratio
from converters.workshop import Proof

WORTH_HERE = 1.05
WORTH_ELSEWHERE = 1.25
"""A candidate behind another in the board's order must be this many times as fast to be taken instead. Where this machine is of the
board's kind its stopwatch is good; elsewhere the order knows the board and the stopwatch does not. Compared is the end of the
interval of their ratio, both in the same rounds, so that a busy moment does not decide."""


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """A candidate with all that was found out about it; ``latency`` and ``speed`` (against the original) are ``None`` when it was not
    timed; ``rounds`` are the mean microseconds of an inference in each round of all. ``macs`` are the multiplications of one inference,
    ``elsewhere`` what came of it in other versions."""

    candidate: Candidate
    proof: Proof
    evaluation: Evaluation
    judgement: Judgement
    latency: Latency | None
    speed: Ratio | None
    macs: int = 0
    elsewhere: tuple[Elsewhere, ...] = ()
    rounds: tuple[float, ...] = ()

    @property
    def proven(self) -> tuple[tuple[str, str], ...]:
        """Libraries and versions it was found good in, this machine's first."""
        others = tuple((item.library, item.version) for item in self.elsewhere if not item.reason)
        return ((self.proof.runtime, self.proof.version), *others)


def choose(tried: Sequence[Tried], *, worth: float = WORTH_ELSEWHERE) -> tuple[Tried | None, str]:
    """The best of those that passed, and the reason in words. ``tried`` is in the board's order; of several networks under one scheme the
    one with the least work comes first."""
    passed = [item for item in tried if item.judgement.passed]
    if not passed:
        return None, "no candidate passed"
    ranked = _least_work_first(passed)
    timed = [item for item in ranked if item.speed is not None]
    if not timed:
        return ranked[0], f"{ranked[0].candidate.label} is the first in the board's order that passed; nothing was timed"
    best = timed[0]
    for item in timed[1:]:
        if _surely_faster(item, best, worth):
            best = item
    label = best.candidate.label
    if len(passed) == 1:
        return best, f"{label} is the only candidate that passed"
    if best is timed[0]:
        return best, f"{label} comes first in the board's order, and none of the others is {worth:g} times as fast here"
    return best, f"{label} is at least {worth:g} times as fast here as those before it in the board's order"


def pareto(tried: Sequence[Tried]) -> tuple[Tried, ...]:
    """Those that no other beats in size, latency and answers all at once. A candidate that was not timed is on no front."""
    timed = [item for item in tried if item.speed is not None]
    return tuple(item for item in timed if not any(_dominates(other, item) for other in timed))


def _least_work_first(passed: Sequence[Tried]) -> list[Tried]:
    schemes = list(dict.fromkeys(item.candidate.scheme for item in passed))
    return sorted(passed, key=lambda item: (schemes.index(item.candidate.scheme), item.macs))


def _surely_faster(item: Tried, best: Tried, worth: float) -> bool:
    """By the two against each other in the rounds that both ran in, which a busy machine disturbs less than each against the original."""
    assert item.speed is not None and best.speed is not None
    if item.rounds and len(item.rounds) == len(best.rounds):
        return ratio(item.rounds, best.rounds).high * worth < 1
    return item.speed.high * worth < best.speed.low


def _dominates(one: Tried, other: Tried) -> bool:
    first, second = _axes(one), _axes(other)
    return all(a <= b for a, b in zip(first, second, strict=True)) and first != second


def _axes(item: Tried) -> tuple[float, float, float]:
    assert item.speed is not None
    loss = item.evaluation.drop if item.evaluation.drop is not None else -item.evaluation.sqnr_db
    return item.speed.median, float(len(item.candidate.data)), loss
