"""Whether a candidate may leave: a value with every reason, never an exception."""

from __future__ import annotations

import math
from dataclasses import dataclass

from converters.distance import OutputNoise
from converters.evaluate import Evaluation
from converters.timing import Ratio

SLOWER_BY = 1.05
"""A candidate is slower when even the low end of its interval is more than this many times the original's latency."""
LARGER_BY = 1.02
LARGER_BYTES = 1024
"""A candidate is larger when it exceeds the source by more than both: the containers of two formats differ by that much for nothing."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """``reasons`` is empty exactly when the candidate passes; ``overridden`` are those that force set aside; ``notes`` only inform."""

    reasons: tuple[str, ...]
    overridden: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, slots=True)
class Limits:
    """What the user and the boards ask for. ``latency_ms`` only where this machine's clock speaks for the board's; ``strict`` asks that
    the whole interval of the loss lie within ``max_drop``, not only the loss seen."""

    max_drop: float
    min_sqnr_db: float
    size_mib: float
    memory_mib: float = math.inf
    latency_ms: float = math.inf
    force: bool = False
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Weighed:
    """What was measured of a candidate beside its answers: file size, the memory it needs at least, and its speed against the source's and
    latency, ``None`` when it was not timed."""

    size_bytes: int
    source_bytes: int
    memory_bytes: int = 0
    speed: Ratio | None = None
    latency_us: float | None = None


def judge(evaluation: Evaluation, limits: Limits, weighed: Weighed) -> Judgement:
    """Wrong answers can never be forced through; being larger or slower than the source can."""
    size_bytes, source_bytes, speed = weighed.size_bytes, weighed.source_bytes, weighed.speed
    reasons = [*quality(evaluation, limits), *over_budget(weighed, limits)]
    worse = []
    if size_bytes > max(source_bytes * LARGER_BY, source_bytes + LARGER_BYTES):
        worse.append(f"is larger than the source ({size_bytes} bytes against {source_bytes})")
    if speed is not None and speed.low > SLOWER_BY:
        worse.append(f"is slower than the source on this machine ({speed.median:.2f} times its latency, at least {speed.low:.2f})")
    if limits.force:
        return Judgement(tuple(reasons), tuple(worse), _notes(evaluation, limits))
    return Judgement((*reasons, *worse), (), _notes(evaluation, limits))


def over_budget(weighed: Weighed, limits: Limits) -> list[str]:
    """What of the board's budget a candidate exceeds."""
    reasons = []
    if weighed.size_bytes > limits.size_mib * (1 << 20):
        reasons.append(f"has {weighed.size_bytes / (1 << 20):.1f} MiB, the board's budget is {limits.size_mib:g} MiB")
    if weighed.memory_bytes > limits.memory_mib * (1 << 20):
        reasons.append(f"needs {weighed.memory_bytes / (1 << 20):.0f} MiB of memory, the board's budget is {limits.memory_mib:g} MiB")
    if weighed.latency_us is not None and weighed.latency_us > limits.latency_ms * 1000:
        reasons.append(f"takes {weighed.latency_us / 1000:.1f} ms, the board's budget is {limits.latency_ms:g} ms")
    return reasons


def quality(evaluation: Evaluation, limits: Limits) -> list[str]:
    """Why its answers are not good enough; empty when they are."""
    if not evaluation.finite:
        return ["gives NaN or infinity where the original gives numbers"]
    if evaluation.drop is None:
        return _noise(evaluation, limits)
    if not math.isfinite(evaluation.drop):
        return [f"its {evaluation.measure} cannot be told from these samples"]
    reasons = [_too_far(f"output {noise.name} is", noise.sqnr_db, limits) for noise in evaluation.unmeasured if _noisy(noise, limits)]
    if evaluation.drop > limits.max_drop + 1e-12:
        what = "loses" if evaluation.labelled else "may lose up to"
        percent, allowed = 100 * evaluation.drop, 100 * limits.max_drop
        lost = f"{what} {percent:.2f} points of {evaluation.measure} on {evaluation.samples} samples, {allowed:.2f} are allowed"
        return [lost, *reasons]
    if limits.strict and evaluation.drop_high is not None and evaluation.drop_high > limits.max_drop:
        return [
            f"is not proven to lose at most {100 * limits.max_drop:.2f} points: on {evaluation.samples} samples the loss may be "
            f"{100 * evaluation.drop_high:.2f} (95 % interval); give more samples, or leave --strict out",
            *reasons,
        ]
    return reasons


def _noise(evaluation: Evaluation, limits: Limits) -> list[str]:
    """Of a model that is judged by the noise on its outputs: each must be good."""
    if evaluation.sqnr_db >= limits.min_sqnr_db:
        return []
    bad = [noise for noise in evaluation.outputs if _noisy(noise, limits)]
    if len(evaluation.outputs) < 2 or not bad:
        return [_too_far("outputs are", evaluation.sqnr_db, limits)]
    return [_too_far(f"output {noise.name} is", noise.sqnr_db, limits) for noise in bad]


def _noisy(noise: OutputNoise, limits: Limits) -> bool:
    return noise.sqnr_db < limits.min_sqnr_db


def _too_far(what: str, sqnr_db: float, limits: Limits) -> str:
    return f"its {what} too far from the original's (signal to noise {sqnr_db:.1f} dB, {limits.min_sqnr_db:g} asked)"


def _notes(evaluation: Evaluation, limits: Limits) -> tuple[str, ...]:
    notes = [_drowned(noise) for noise in evaluation.outputs if noise.drowned] if evaluation.metric in ("error", "regressor") else []
    right, commonest = evaluation.original_accuracy, evaluation.commonest
    if right is not None and commonest is not None and right <= commonest < 1:
        notes.append(
            f"the original itself is right on only {100 * right:.2f} % of the samples; always naming the commonest class would be on "
            f"{100 * commonest:.2f} %: check preprocessing, labels and their order"
        )
    if commonest == 1 and evaluation.samples > 1:
        notes.append(
            "all samples that it is judged on are of one class: a model that always names it would be let out too; "
            "give samples of every class"
        )
    if evaluation.metric == "regressor" and right is not None and right <= 0:
        notes.append(
            "the original itself explains no more of the targets than their mean does: check preprocessing, targets and their order"
        )
    if evaluation.drop_high is not None and evaluation.drop_high > limits.max_drop:
        notes.append(
            f"{evaluation.samples} samples are too few to be sure: the true drop may reach {100 * evaluation.drop_high:.2f} points "
            f"(95 % interval), {100 * limits.max_drop:.2f} are allowed"
        )
    return tuple(notes)


def _drowned(noise: OutputNoise) -> str:
    few = ", ".join(str(at) for at in noise.drowned[:8]) + (", ..." if len(noise.drowned) > 8 else "")
    return (
        f"output {noise.name}: of its values {few} (from 0) nothing is left but noise, which the larger ones hide; give each quantity "
        "an output of its own, or scale them alike"
    )
