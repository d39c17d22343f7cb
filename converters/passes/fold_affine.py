"""A constant multiplied with or added to each output channel of a convolution or dense layer, folded into it.

Exporters leave these behind when they unroll batch normalization.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.model import Graph, copied
from converters.passes.contract import Pass
from converters.passes.linear import LINEAR_OPS, LinearWeights, linear_weights, scaled


def fold_affine(graph: Graph) -> Graph:
    folded = _fold_one(graph)
    if folded is None:
        return graph
    while folded is not None:
        graph = folded
        folded = _fold_one(graph)
    return graph


def _fold_one(graph: Graph) -> Graph | None:
    """The graph with the first such pair folded, ``None`` when there is none left."""
    consumers, producers, shown = graph.consumers(), graph.producers(), graph.output_names()
    for node in graph.nodes:
        if node.op_type not in ("Mul", "Add") or len(node.input) != 2:
            continue
        for name, other in ((node.input[0], node.input[1]), (node.input[1], node.input[0])):
            before, constant = producers.get(name), graph.constants.get(other)
            if before is None or constant is None or before.op_type not in LINEAR_OPS:
                continue
            weights = linear_weights(before, graph.constants)
            if weights is None or len(consumers[name]) != 1 or name in shown:
                continue
            numbers = _by_channel(constant, before, weights)
            if numbers is not None:
                return _folded(graph, before, node, weights, numbers)
    return None


def _by_channel(constant: Any, before: Any, weights: LinearWeights) -> Any:
    """``constant`` as one number for each output channel, ``None`` when it varies over anything else."""
    channels = weights.weight.shape[weights.axis]
    rank = 2 if before.op_type == "Gemm" else weights.weight.ndim
    if constant.ndim > rank or constant.dtype.kind != "f":
        return None
    full = constant.reshape((1,) * (rank - constant.ndim) + constant.shape)
    if full.size == 1:
        return np.full(channels, full.reshape(()), np.float64)
    if full.shape[1] != channels or full.size != channels:
        return None
    return full.reshape(-1).astype(np.float64)


def _folded(graph: Graph, before: Any, node: Any, weights: LinearWeights, numbers: Any) -> Graph:
    ones, zeros = np.ones_like(numbers), np.zeros_like(numbers)
    factor, shift = (numbers, zeros) if node.op_type == "Mul" else (ones, numbers)
    names, arrays = scaled(before, weights, factor, shift, node.output[0])
    merged = copied(before, inputs=names, outputs=[node.output[0]])
    return graph.edited([merged if item is before else item for item in graph.nodes if item is not node], arrays)


FOLD_AFFINE = Pass("fold_affine", fold_affine)
