"""Run a loaded model on its golden inputs and write down what happened. Judging is :mod:`edge_agent.update.trial`'s."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from edge_agent.clock import Clock
from edge_agent.errors import ModelError
from edge_agent.ports import Runtime
from edge_agent.values import TensorSpec

LEAST_RUNS = 30
LATENCY_BUDGET_NS = 5_000_000_000


class Case(Protocol):
    """A golden input and what the model must answer, as arrays by tensor name."""

    @property
    def inputs(self) -> Mapping[str, Any]: ...


def warm_up(runtime: Runtime, cases: Sequence[Case], inputs: Sequence[TensorSpec]) -> None:
    """One run, so that the first real window does not pay for what runtimes put off. Raises ModelError.

    Without cases it is run on zeros; a model that cannot take them (whose shapes are inputs, say) starts cold.
    """
    if cases:
        runtime.run(cases[0].inputs)
        return
    try:
        runtime.run({spec.name: _zeros(spec) for spec in inputs})
    except ModelError:
        pass


def check_answers(
    runtime: Runtime, cases: Sequence[Any], compare: Callable[[Any, Any], float], within: Callable[[Any, Any], bool]
) -> list[dict[str, Any]]:
    """For each case: largest error, whether it is within tolerance, whether any answer is not a number."""
    results = []
    for case in cases:
        outputs = runtime.run(case.inputs)
        results.append({"max_error": compare(case, outputs), "within": within(case, outputs), "nan": _has_nan(outputs)})
    return results


def time_runs(runtime: Runtime, cases: Sequence[Case], clock: Clock) -> list[float]:
    """Milliseconds of single runs over the cases in turn: at least 30 of them, fewer when they take longer than 5 s together."""
    times_ms: list[float] = []
    began_ns = clock.monotonic_ns()
    while cases and len(times_ms) < max(LEAST_RUNS, len(cases)) and clock.monotonic_ns() - began_ns < LATENCY_BUDGET_NS:
        inputs = cases[len(times_ms) % len(cases)].inputs
        started_ns = clock.monotonic_ns()
        runtime.run(inputs)
        times_ms.append((clock.monotonic_ns() - started_ns) / 1e6)
    return times_ms


def _has_nan(outputs: Mapping[str, Any]) -> bool:
    return any(value.dtype.kind == "f" and bool(np.isnan(value).any()) for value in outputs.values())


def _zeros(spec: TensorSpec) -> Any:
    return np.zeros([1 if size is None else size for size in spec.shape], np.dtype(spec.dtype))
