"""Run passes in order and hold each to its contract."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx

from converters.errors import PassError
from converters.model import Graph, proto_of
from converters.passes.cancel_transposes import CANCEL_TRANSPOSES
from converters.passes.contract import Pass
from converters.passes.drop_dead import DROP_DEAD
from converters.passes.drop_identity import DROP_IDENTITY
from converters.passes.equalise import EQUALISE
from converters.passes.fix_batch import FIX_BATCH
from converters.passes.fold_affine import FOLD_AFFINE
from converters.passes.fold_batch_norm import FOLD_BATCH_NORM
from converters.passes.fold_constants import FOLD_CONSTANTS
from converters.passes.lower_ml import LOWER_ML
from converters.passes.matmul_to_gemm import MATMUL_TO_GEMM
from converters.passes.merge_trees import MERGE_TREES
from converters.passes.raise_opset import RAISE_OPSET
from edge_agent.errors import EdgeError

STANDARD: tuple[Pass, ...] = (
    DROP_DEAD,
    RAISE_OPSET,
    FIX_BATCH,
    LOWER_ML,
    MERGE_TREES,
    FOLD_CONSTANTS,
    DROP_IDENTITY,
    CANCEL_TRANSPOSES,
    FOLD_BATCH_NORM,
    MATMUL_TO_GEMM,
    FOLD_AFFINE,
    EQUALISE,
)
"""What every model goes through before a target sees it."""


@dataclass(frozen=True, slots=True)
class PassResult:
    """``changed`` is false for a pass that found nothing to do; node counts say what it did."""

    name: str
    changed: bool
    nodes_before: int
    nodes_after: int


def run_passes(graph: Graph, passes: Sequence[Pass] = STANDARD) -> tuple[Graph, tuple[PassResult, ...]]:
    """The graph after all ``passes``, and what each did. Raises :class:`PassError` naming the pass that broke its contract."""
    results: list[PassResult] = []
    for step, after in stages(graph, passes):
        results.append(PassResult(step.name, after is not graph, len(graph.nodes), len(after.nodes)))
        graph = after
    return graph, tuple(results)


def stages(graph: Graph, passes: Sequence[Pass] = STANDARD) -> Iterator[tuple[Pass, Graph]]:
    """Each pass with the graph after it. Raises as :func:`run_passes` does."""
    holds: set[str] = set()
    names: list[str] = []
    for step in passes:
        done = ", ".join(names) or "none"
        missing = step.requires - holds
        if missing:
            raise PassError(f"pass {step.name} needs {', '.join(sorted(missing))}; passes before it: {done}")
        after = _applied(step, graph, done)
        _check(step, graph, after, done)
        yield step, after
        graph = after
        names.append(step.name)
        holds |= step.ensures


def _applied(step: Pass, graph: Graph, done: str) -> Graph:
    """Numbers and forms that no real network has make a pass fail in many ways; the answer names it."""
    try:
        return step.apply(graph)
    except (EdgeError, MemoryError):
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {str(error)[:200]}"
        raise PassError(
            f"pass {step.name} cannot take this network ({why}); passes before it: {done}; --scheme as-is packs the file unchanged"
        ) from error


def _check(step: Pass, before: Graph, after: Graph, done: str) -> None:
    """A changed graph is still a valid one, with the inputs and outputs that people know."""
    if after is before:
        return
    names = [spec.name for spec in (*before.inputs, *before.outputs)]
    if names != [spec.name for spec in (*after.inputs, *after.outputs)]:
        raise PassError(f"pass {step.name} renamed the model's inputs or outputs; passes before it: {done}")
    try:
        onnx.checker.check_model(proto_of(after))
    except Exception as error:  # ValidationError, and others from native code
        raise PassError(f"pass {step.name} made an invalid graph ({str(error).splitlines()[0]}); passes before it: {done}") from error
