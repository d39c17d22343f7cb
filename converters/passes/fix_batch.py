"""A free first dimension of an input becomes 1: a device asks one question at a time, and fixed shapes let targets lay out memory.

Other free dimensions are for the user or the samples to decide, see ``fix_shapes``; what is left free stays so.
"""

from __future__ import annotations

from dataclasses import replace

from converters.model import Graph
from converters.passes.contract import Pass
from converters.shapes import with_inputs


def fix_batch(graph: Graph) -> Graph:
    """The same graph when no first dimension is free."""
    inputs = tuple(
        replace(spec, shape=tuple(1 if size is None and not axis else size for axis, size in enumerate(spec.shape)))
        for spec in graph.inputs
    )
    if inputs == graph.inputs and all(None not in spec.shape for spec in graph.outputs):
        return graph
    return with_inputs(graph, inputs)


FIX_BATCH = Pass("fix_batch", fix_batch, ensures=frozenset({"fixed_batch"}))
