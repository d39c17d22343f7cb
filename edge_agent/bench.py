"""What a benchmark of models measures, and the arithmetic over it. Pure: numpy is imported only to make inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from edge_agent.bench_subject import Subject
from edge_agent.values import TensorSpec

_SEED = 20_200_101


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was seen while a process loaded a model. ``base_mib`` is resident with the runtime imported, ``loaded_mib`` after the warm-up.

    ``own_mib`` is what the model takes that no file holds, so what the kernel cannot have back: weights that are mapped are not in it.
    ``inputs`` says golden or random.
    """

    runtime: str
    runtime_version: str
    inputs: str
    init_ms: float
    first_us: float
    base_mib: float
    loaded_mib: float
    own_mib: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Round:
    """Inferences of one subject in one go. ``cpu_us`` is processor time of all threads together; ``involuntary`` how often the kernel took
    the processor away; ``disturbed`` why these times may not be the model's, empty when nothing speaks against them."""

    times_us: tuple[float, ...]
    cpu_us: float
    involuntary: int
    disturbed: tuple[str, ...] = ()

    @property
    def p50_us(self) -> float:
        return percentile(sorted(self.times_us), 50)


@dataclass(frozen=True, slots=True)
class OpTime:
    """Microseconds of an inference (median) that a node of the model takes, or all ``count`` nodes of an operator (``node`` empty)."""

    op: str
    node: str
    count: int
    us: float


@dataclass(frozen=True, slots=True)
class BenchResult:
    """One subject measured. The ``_us`` figures are single inferences after the warm-up, of undisturbed rounds where at least half are;
    ``ratio`` is p50 beside the first subject's, the median over rounds run side by side; ``peak_mib`` is the process at its largest."""

    file: str
    file_bytes: int
    runtime: str
    runtime_version: str
    threads: int
    runs: int
    inputs: str
    init_ms: float
    first_us: float
    mean_us: float
    p50_us: float
    p95_us: float
    p99_us: float
    max_us: float
    cpu_us: float
    base_mib: float
    loaded_mib: float
    peak_rss_mib: float
    ratio: float
    rounds: int
    disturbed_rounds: int
    disturbed: tuple[str, ...]
    notes: tuple[str, ...]
    ops: tuple[OpTime, ...] = ()
    ops_note: str = ""


def summarize(
    subject: Subject, loaded: Loaded, rounds: Sequence[Round], first: Sequence[Round], peak_mib: float, ops: Sequence[OpTime], ops_note: str
) -> BenchResult:
    """The figures of ``subject`` from its ``rounds``; ``first`` are the rounds of the subject it is compared with, in the same order."""
    clean = [r for r in rounds if not r.disturbed]
    counted = clean if 2 * len(clean) >= len(rounds) else list(rounds)
    times_us = sorted(time for r in counted for time in r.times_us)
    return BenchResult(
        file=subject.label,
        file_bytes=subject.file_bytes,
        runtime=loaded.runtime,
        runtime_version=loaded.runtime_version,
        threads=subject.options.threads,
        runs=len(times_us),
        inputs=loaded.inputs,
        init_ms=loaded.init_ms,
        first_us=loaded.first_us,
        mean_us=sum(times_us) / len(times_us),
        p50_us=percentile(times_us, 50),
        p95_us=percentile(times_us, 95),
        p99_us=percentile(times_us, 99),
        max_us=times_us[-1],
        cpu_us=sum(r.cpu_us for r in counted) / len(times_us),
        base_mib=loaded.base_mib,
        loaded_mib=loaded.loaded_mib,
        peak_rss_mib=peak_mib,
        ratio=median(ours.p50_us / theirs.p50_us for ours, theirs in zip(rounds, first, strict=True)),
        rounds=len(rounds),
        disturbed_rounds=len(rounds) - len(clean),
        disturbed=tuple(sorted({reason for r in rounds for reason in r.disturbed})),
        notes=loaded.notes,
        ops=tuple(ops),
        ops_note=ops_note,
    )


def by_operator(ops: Sequence[OpTime]) -> list[OpTime]:
    """Nodes of the same operator added up, the slowest first."""
    kinds = {op.op for op in ops}
    sums = [OpTime(kind, "", sum(o.count for o in ops if o.op == kind), sum(o.us * o.count for o in ops if o.op == kind)) for kind in kinds]
    return sorted(sums, key=lambda op: (-op.us, op.op))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of values in ascending order: a value that was really measured."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def random_array(spec: TensorSpec) -> Any:
    """An array for ``spec`` that repeats from run to run: standard normal for floats, the middle half of the range for integers."""
    import numpy as np

    random = np.random.default_rng(_SEED)
    shape = tuple(1 if size is None else size for size in spec.shape)
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype)
    if dtype.kind == "b":
        return random.integers(0, 2, shape).astype(dtype)
    limits = np.iinfo(dtype)
    # Wide integers are mostly indices: stay small there, so that they point at something.
    low, high = (limits.min // 2, limits.max // 2) if dtype.itemsize == 1 else (0, 2)
    return random.integers(low, high, shape, dtype=dtype)
