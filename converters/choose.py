"""Which of the candidates that passed is packed, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from converters.candidates import Candidate
from converters.evaluate import Evaluation
from converters.gate import Judgement
from converters.timing import Latency, Ratio
from converters.workshop import Proof

WORTH = 1.25
"""A candidate behind another in the board's order must be this many times as fast here to be taken instead: the order knows the board,
this machine's stopwatch does not. Compared are the ends of the intervals, each against the original in the same rounds, so that a busy
moment does not decide."""


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """A candidate with all that was found out about it."""

    candidate: Candidate
    proof: Proof
    evaluation: Evaluation
    judgement: Judgement
    latency: Latency
    speed: Ratio


def choose(tried: Sequence[Tried]) -> tuple[Tried | None, str]:
    """The best of those that passed, in the board's order unless another is clearly faster, and the reason in words."""
    passed = [item for item in tried if item.judgement.passed]
    if not passed:
        return None, "no candidate passed"
    best = passed[0]
    for item in passed[1:]:
        if item.speed.high * WORTH < best.speed.low:
            best = item
    if len(passed) == 1:
        return best, f"{best.candidate.scheme} is the only candidate that passed"
    if best is passed[0]:
        return best, f"{best.candidate.scheme} comes first in the board's order, and none of the others is {WORTH:g} times as fast here"
    return best, f"{best.candidate.scheme} is at least {WORTH:g} times as fast here as those before it in the board's order"
