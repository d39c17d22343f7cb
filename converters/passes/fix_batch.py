"""A free first dimension of an input becomes 1: a device asks one question at a time, and fixed shapes let targets lay out memory."""

from __future__ import annotations

from dataclasses import replace

from converters.errors import PassError
from converters.model import Graph
from converters.passes.contract import Pass
from converters.shapes import infer_shapes
from edge_agent.values import TensorSpec


def fix_batch(graph: Graph) -> Graph:
    """Raises :class:`PassError` for a free dimension that is not the first."""
    inputs = tuple(replace(spec, shape=_fixed(spec)) for spec in graph.inputs)
    if inputs == graph.inputs and all(None not in spec.shape for spec in graph.outputs):
        return graph
    # Outputs still carry the old free sizes; inference fills in what follows from the inputs.
    blank = replace(graph, inputs=inputs)
    shapes = infer_shapes(replace(blank, outputs=tuple(replace(s, shape=tuple(None for _ in s.shape)) for s in graph.outputs)))
    outputs = tuple(replace(spec, shape=shapes[spec.name].shape) if spec.name in shapes else spec for spec in graph.outputs)
    return graph if (inputs, outputs) == (graph.inputs, graph.outputs) else replace(blank, outputs=outputs)


def _fixed(spec: TensorSpec) -> tuple[int | None, ...]:
    if None in spec.shape[1:]:
        axes = [axis for axis, size in enumerate(spec.shape) if size is None and axis]
        raise PassError(f"input {spec.name}: size {axes[0]} of its shape {spec.shape} is free; export the model with it fixed")
    return tuple(1 if size is None else size for size in spec.shape)


FIX_BATCH = Pass("fix_batch", fix_batch, ensures=frozenset({"fixed_shapes"}))
