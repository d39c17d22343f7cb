"""How far a candidate's outputs are from the original's: each by itself, so that a large output cannot hide what became of a small one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.workshop import Proof

EXACT_DB = 200.0
"""Signal to noise of outputs without any difference, and the most that is told."""
MOST_VALUES = 64
"""Values of an output up to which each is a quantity of its own; more are taken for a picture or a sound."""


@dataclass(frozen=True, slots=True)
class OutputNoise:
    """``sqnr_db`` of one output over all samples; ``drowned`` are the places of those of its values that vary from sample to sample, and
    in which the candidate's error is larger than that."""

    name: str
    sqnr_db: float
    drowned: tuple[int, ...] = ()


def distance(original: Proof, candidate: Proof) -> tuple[float, float]:
    """Largest absolute difference, and signal to noise in dB of the worst output; integers are made real first. An output that is zero
    throughout has no signal of its own: its noise counts against that of all of them."""
    pairs = _pairs(original, candidate)
    if any(left.shape != right.shape for _, left, right in pairs):
        return math.inf, -math.inf
    sums = [_energies(left, right) for _, left, right in pairs]
    largest = max((float(np.abs(_apart(left, right)).max(initial=0.0)) for _, left, right in pairs), default=0.0)
    signal, noise = sum(s for s, _ in sums), sum(n for _, n in sums)
    if not (math.isfinite(noise) and math.isfinite(signal) and math.isfinite(largest)):
        return math.inf, -math.inf
    return largest, min([_db(signal, noise), *(_db(s, n) for s, n in sums if s)])


def each_output(original: Proof, candidate: Proof) -> tuple[OutputNoise, ...]:
    """The same of each output that holds real numbers; none where a shape or a value is wrong altogether."""
    if not math.isfinite(distance(original, candidate)[1]):
        return ()
    pairs = [(spec, left, right) for spec, left, right in _pairs(original, candidate) if _is_real(spec)]
    return tuple(OutputNoise(spec.name, _db(*_energies(left, right)), _drowned(left, right)) for spec, left, right in pairs)


def real(array: Any, spec: Any) -> Any:
    """Quantized integers as the real numbers they stand for, float64."""
    values = array.astype(np.float64)
    return values if spec.scale is None else (values - (spec.zero_point or 0)) * spec.scale


def _pairs(original: Proof, candidate: Proof) -> list[tuple[Any, Any, Any]]:
    """By name where the names are the same, else by place."""
    theirs = {spec.name: spec for spec in candidate.outputs}
    alike = set(theirs) == {spec.name for spec in original.outputs}
    both = [(one, theirs[one.name] if alike else other) for one, other in zip(original.outputs, candidate.outputs, strict=True)]
    return [(one, real(original.values[one.name], one), real(candidate.values[other.name], other)) for one, other in both]


def _is_real(spec: Any) -> bool:
    return spec.scale is not None or np.dtype(spec.dtype).kind == "f"


def _apart(left: Any, right: Any) -> Any:
    with np.errstate(invalid="ignore", over="ignore"):
        return left - right


def _energies(left: Any, right: Any) -> tuple[float, float]:
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.square(left).sum()), float(np.square(_apart(left, right)).sum())


def _db(signal: float, noise: float) -> float:
    if not noise:
        return EXACT_DB
    if not signal:
        return -EXACT_DB
    return min(max(10 * (math.log10(signal) - math.log10(noise)), -EXACT_DB), EXACT_DB)


def _drowned(left: Any, right: Any) -> tuple[int, ...]:
    before, after = left.reshape(len(left), -1), right.reshape(len(right), -1)
    if not 1 < before.shape[1] <= MOST_VALUES:
        return ()
    varies = before.std(axis=0) > 1e-6 * np.abs(before).max(axis=0, initial=0.0)
    error = np.square(before - after).mean(axis=0)
    return tuple(int(at) for at in np.flatnonzero(varies & (error >= before.var(axis=0))))
