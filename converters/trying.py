"""Every candidate through its runtimes, against the original, past the gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from converters.candidates import Candidate, NotMade
from converters.choose import Tried
from converters.evaluate import Evaluation
from converters.gate import Judgement, Limits, Weighed, judge, quality
from converters.prepare import Prepared
from converters.proofs import Elsewhere, prove_everywhere
from converters.timing import Latency, latency, ratio
from converters.workshop import Proof
from edge_agent.errors import ModelError

FLOAT = ("float32", "float16", "weights8")
TIMING_S = 1.5
TIMED_SAMPLES = 8


@dataclass(frozen=True, slots=True, eq=False)
class Proven:
    """A candidate that loaded and ran: its answers, their distance from the original's, the multiplications of one inference, the memory
    it needs at least, and what came of it in other versions that its boards name."""

    candidate: Candidate
    proof: Proof
    evaluation: Evaluation
    macs: int
    memory_bytes: int
    elsewhere: tuple[Elsewhere, ...] = ()
    unproven_allowed: bool = False

    @property
    def objections(self) -> tuple[str, ...]:
        """Why one of the other versions was not enough; never set aside but for a version that is not at hand."""
        return tuple(item.reason for item in self.elsewhere if item.reason and not (item.missing and self.unproven_allowed))

    def good(self, limits: Limits) -> bool:
        """Whether only its speed is left to be judged."""
        return not quality(self.evaluation, limits) and not self.objections


def prove(ready: Prepared, candidate: Candidate, macs: int, memory_bytes: int, limits: Limits) -> Proven | NotMade:
    """Runs ``candidate`` on the evaluation samples in every runtime its boards name. Never raises for what a runtime refuses."""
    rows = ready.original.split.evaluate
    try:
        proof = ready.workshop.prove(candidate.label, candidate.data, candidate.runtime, rows)
    except ModelError as error:
        return NotMade(candidate.scheme, str(error), candidate.variant)
    evaluation = ready.original.compare(proof, ready.recipe)
    elsewhere = prove_everywhere(
        ready.workshop,
        proof,
        candidate.data,
        candidate.runtime,
        rows,
        ready.goal.prove,
        quantized=candidate.precision not in FLOAT,
        judge=lambda there: quality(ready.original.compare(there, ready.recipe), limits),
    )
    return Proven(candidate, proof, evaluation, macs, memory_bytes, elsewhere, ready.recipe.unproven)


def judge_all(ready: Prepared, proven: Sequence[Proven], timed: Sequence[int], limits: Limits) -> tuple[tuple[Tried, ...], Latency | None]:
    """Times those at positions ``timed`` in turn with the original and lets the gate judge all; and the original's latency."""
    if not timed:
        return tuple(_judged(ready, item, limits, None, None) for item in proven), None
    paths = [ready.original.proof.path, *(proven[at].proof.path for at in timed)]
    rounds = ready.workshop.time(paths, ready.original.split.evaluate[:TIMED_SAMPLES], budget_s=TIMING_S)
    spent = dict(zip(timed, rounds[1:], strict=True))
    tried = [_judged(ready, item, limits, spent.get(at), rounds[0]) for at, item in enumerate(proven)]
    return tuple(tried), latency(rounds[0])


def _judged(ready: Prepared, item: Proven, limits: Limits, spent: list[float] | None, original: list[float] | None) -> Tried:
    speed = None if spent is None or original is None else ratio(spent, original)
    took = None if spent is None else latency(spent)
    as_is = item.candidate.precision == "as-is"  # the source cannot be slower than itself
    weighed = Weighed(
        len(item.candidate.data),
        ready.source.bytes,
        item.memory_bytes,
        None if as_is else speed,
        took.median_us if took else None,
    )
    found = judge(item.evaluation, limits, weighed)
    notes = (*found.notes, *(other.note for other in item.elsewhere if other.note))
    judgement = Judgement((*item.objections, *found.reasons), found.overridden, notes)
    rounds = tuple(spent or ())
    return Tried(item.candidate, item.proof, item.evaluation, judgement, took, speed, item.macs, item.elsewhere, rounds)
