"""How fast and how large a model is on this machine: one file, this process, no pipeline around it."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.bundle import archive
from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import ModelError
from edge_agent.ports import Runtime
from edge_agent.values import TensorSpec

_SEED = 20_200_101


@dataclass(frozen=True, slots=True)
class BenchResult:
    """One model measured. ``init_ms`` is loading, the runtime being imported already; the ``_us`` figures are single inferences after the
    warm-up; ``peak_rss_mib`` is of the whole process so far, interpreter and runtime included. ``inputs`` says golden or random."""

    file: str
    file_bytes: int
    runtime: str
    runtime_version: str
    threads: int
    runs: int
    inputs: str
    init_ms: float
    mean_us: float
    p50_us: float
    p95_us: float
    p99_us: float
    max_us: float
    peak_rss_mib: float


def bench_file(path: Path, *, runs: int = 200, warmup: int = 20, threads: int = 1, clock: Clock | None = None) -> BenchResult:
    """Measures the ``.onnx``, ``.tflite`` or ``.edgemodel`` file at ``path``; free dimensions are taken as 1.

    A bundle is run on its golden inputs, a bare model on random ones. Raises BundleError, ModelError, RuntimeMissing.
    """
    if runs < 1 or warmup < 0 or threads < 1:
        raise ModelError(f"runs and threads must be 1 or more and warmup 0 or more, are {runs}, {threads} and {warmup}")
    clock = clock or SystemClock()
    if path.suffix == archive.EXTENSION:
        return _bench_bundle(path, runs, warmup, threads, clock)
    from edge_agent.runtimes.choose import load_model_file, preimport

    preimport((path.suffix[1:].lower(),))
    return _bench(path, lambda: load_model_file(path, threads=threads), None, runs, warmup, threads, clock)


def _bench_bundle(path: Path, runs: int, warmup: int, threads: int, clock: Clock) -> BenchResult:
    from edge_agent.runtimes.choose import check_requirement, load_runtime, preimport

    with tempfile.TemporaryDirectory(prefix="edge-bench-") as temporary:
        folder = Path(temporary) / "bundle"
        manifest = archive.unpack(path, folder)
        check_requirement(manifest.runtime)
        from edge_agent.bundle.golden import load_cases  # needs numpy, which comes with a runtime

        cases = [dict(case.inputs) for case in load_cases(manifest, folder)]
        preimport((manifest.runtime.name,))
        return _bench(path, lambda: load_runtime(manifest, folder, threads=threads), cases or None, runs, warmup, threads, clock)


def _bench(
    path: Path,
    load: Callable[[], Runtime],
    cases: list[dict[str, Any]] | None,
    runs: int,
    warmup: int,
    threads: int,
    clock: Clock,
) -> BenchResult:
    began_ns = clock.monotonic_ns()
    runtime = load()
    init_ms = (clock.monotonic_ns() - began_ns) / 1e6
    try:
        feeds = cases or [{spec.name: random_array(spec) for spec in runtime.inputs}]
        for index in range(warmup):
            runtime.run(feeds[index % len(feeds)])
        spent_us = _timed(runtime, feeds, runs, clock)
    finally:
        runtime.close()
    spent_us.sort()
    return BenchResult(
        file=str(path),
        file_bytes=path.stat().st_size,
        runtime=runtime.name,
        runtime_version=runtime.version,
        threads=threads,
        runs=runs,
        inputs="golden" if cases else "random",
        init_ms=init_ms,
        mean_us=sum(spent_us) / len(spent_us),
        p50_us=percentile(spent_us, 50),
        p95_us=percentile(spent_us, 95),
        p99_us=percentile(spent_us, 99),
        max_us=spent_us[-1],
        peak_rss_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def _timed(runtime: Runtime, feeds: list[dict[str, Any]], runs: int, clock: Clock) -> list[float]:
    """Microseconds of each of ``runs`` inferences."""
    spent_us = []
    for index in range(runs):
        feed: Mapping[str, Any] = feeds[index % len(feeds)]
        began_ns = clock.monotonic_ns()
        runtime.run(feed)
        spent_us.append((clock.monotonic_ns() - began_ns) / 1e3)
    return spent_us


def percentile(ordered: list[float], percent: float) -> float:
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
