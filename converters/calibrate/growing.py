"""Which tensors become larger when the network's inputs do: only they can tell that a sample is wild."""

from __future__ import annotations

from typing import Any

from converters.model import Graph

BOUNDED = frozenset(
    (
        *("Sigmoid", "HardSigmoid", "Tanh", "Softsign", "Softmax", "Hardmax", "Erf", "Sin", "Cos", "Sign"),
        *("LSTM", "GRU", "RNN", "LayerNormalization", "InstanceNormalization", "GroupNormalization", "LpNormalization"),
        *("MeanVarianceNormalization", "Log", "LogSoftmax", "QuantizeLinear"),
    )
)
"""Operators whose answer to fifty times the input is not much larger."""
_UNBOUNDED = 3.4e38


def growing_tensors(graph: Graph) -> tuple[str, ...]:
    """The inputs, and every tensor that can be reached from them past unbounded operators only."""
    found = {spec.name: None for spec in graph.inputs}
    for node in graph.nodes:
        changing = [name for name in node.input if name and name not in graph.constants]
        if any(name in found for name in changing) and not _bounded(node, graph):
            found.update({name: None for name in node.output if name})
    return tuple(found)


def _bounded(node: Any, graph: Graph) -> bool:
    if node.op_type == "Clip":
        return all(_finite(node, place, graph) for place in (1, 2))
    if node.op_type == "Div":  # by something that changes: a norm, as a rule
        return node.input[1] not in graph.constants
    return node.op_type in BOUNDED


def _finite(node: Any, place: int, graph: Graph) -> bool:
    bound = graph.constants.get(node.input[place]) if len(node.input) > place and node.input[place] else None
    return bound is not None and bound.size == 1 and abs(float(bound.reshape(()))) < _UNBOUNDED
