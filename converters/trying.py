"""Every candidate through its runtime, against the original, past the gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from converters.candidates import Candidate, NotMade
from converters.choose import Tried
from converters.evaluate import Evaluation
from converters.gate import Limits, judge
from converters.model import Source
from converters.original import Original
from converters.recipe import Recipe
from converters.timing import Latency, latency, ratio
from converters.workshop import Proof, Workshop
from edge_agent.errors import ModelError

TIMING_S = 1.5
TIMED_SAMPLES = 8

Proven = tuple[Candidate, Proof, Evaluation]


def prove_all(
    workshop: Workshop, candidates: Sequence[Candidate], original: Original, recipe: Recipe, tell: Callable[[str], None]
) -> tuple[list[Proven], list[NotMade]]:
    """What loads and runs, with its distance from the original; and what does not, with the runtime's reason."""
    proven: list[Proven] = []
    failed: list[NotMade] = []
    for candidate in candidates:
        tell(f"proving {candidate.scheme} on {len(original.split.evaluate)} samples")
        try:
            proof = workshop.prove(candidate.scheme, candidate.data, candidate.runtime, original.split.evaluate)
        except ModelError as error:
            failed.append(NotMade(candidate.scheme, str(error)))
            continue
        proven.append((candidate, proof, original.compare(proof, recipe)))
    return proven, failed


def judge_all(
    workshop: Workshop, proven: Sequence[Proven], source: Source, original: Original, limits: Limits
) -> tuple[tuple[Tried, ...], Latency]:
    """Times all of them in turn with the original and lets the gate judge; and the original's latency."""
    paths = [original.proof.path, *(proof.path for _, proof, _ in proven)]
    rounds = workshop.time(paths, original.split.evaluate[:TIMED_SAMPLES], budget_s=TIMING_S)
    tried = []
    for (candidate, proof, evaluation), spent in zip(proven, rounds[1:], strict=True):
        speed = ratio(spent, rounds[0])
        weighed = None if candidate.precision == "as-is" else speed  # the source cannot be slower than itself
        judgement = judge(evaluation, limits, size_bytes=len(candidate.data), source_bytes=source.bytes, speed=weighed)
        tried.append(Tried(candidate, proof, evaluation, judgement, latency(spent), speed))
    return tuple(tried), latency(rounds[0])
