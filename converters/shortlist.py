"""Which candidates are worth a stopwatch: a static estimate first, because at most ``MOST`` are timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from converters.candidates import Candidate

MOST = 8

_COST: Mapping[str, float] = MappingProxyType({"int8": 0.35, "int8-io": 0.35, "int16x8": 2.0})
"""Time of a multiplication against float32's: int8 is 2 to 4 times as fast in the runtimes that boards have."""


def estimate(candidate: Candidate, macs: int) -> float:
    """A number that grows with the latency to be expected; only its order means something."""
    return macs * _COST.get(candidate.precision, 1.0) + len(candidate.kept_float) * macs * 0.01


def shortlist(candidates: Sequence[Candidate], macs: Sequence[int]) -> tuple[int, ...]:
    """Positions of at most ``MOST`` of ``candidates`` (in the board's order): the quickest by :func:`estimate`, and one that computes in
    float as a hedge, since integer kernels are missing for some networks on some machines. Ascending."""
    order = sorted(range(len(candidates)), key=lambda at: (estimate(candidates[at], macs[at]), at))
    chosen = order[:MOST]
    hedge = next((at for at in range(len(candidates)) if candidates[at].precision == "float32" and not candidates[at].variant), None)
    if hedge is not None and hedge not in chosen:
        chosen = [*chosen[: MOST - 1], hedge]
    return tuple(sorted(chosen))
