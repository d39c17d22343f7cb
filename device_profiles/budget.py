"""What a model may cost on a board, when the profile does not say: a policy, derived from its RAM and cores.

A quarter of the RAM for the worker leaves room for the system, the agent and, during an update, a second worker on trial.
A sixteenth for the file keeps two versions in the page cache. The latency is what four cores are asked for at ten windows a
second, and proportionally more for fewer cores; it is a default to be replaced by what an application needs.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper limits for one model: bundle size, 95th percentile of one inference, peak resident memory of its worker."""

    size_mib: float
    latency_ms: float
    memory_mib: float


def derive_budget(ram_mib: int, cores: int) -> Budget:
    """The budget of a board with ``ram_mib`` of memory and ``cores`` processor cores."""
    return Budget(
        size_mib=_clamp(ram_mib / 16, 16, 512),
        latency_ms=_clamp(float(400 // cores), 50, 400),
        memory_mib=_clamp(ram_mib / 4, 96, 1024),
    )


def _clamp(value: float, low: float, high: float) -> float:
    return float(min(max(value, low), high))
