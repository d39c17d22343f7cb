"""Batch normalization after a convolution or dense layer, folded into its weights and bias (Ioffe and Szegedy 2015, inference form)."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.model import Graph, attributes, copied
from converters.passes.contract import Pass
from converters.passes.linear import LINEAR_OPS, linear_weights, scaled


def fold_batch_norm(graph: Graph) -> Graph:
    consumers, producers, shown = graph.consumers(), graph.producers(), graph.output_names()
    replaced: dict[int, Any] = {}
    dropped: set[int] = set()
    added: dict[str, Any] = {}
    for node in graph.nodes:
        before = producers.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        if before is None or before.op_type not in LINEAR_OPS or id(before) in replaced:
            continue
        if len(consumers[node.input[0]]) != 1 or node.input[0] in shown or any(node.output[1:]):
            continue
        numbers = [graph.constants.get(name) for name in node.input[1:5]]
        weights = linear_weights(before, graph.constants)
        if weights is None or any(number is None for number in numbers):
            continue
        gamma, beta, mean, variance = (np.asarray(number, np.float64) for number in numbers)
        factor = gamma / np.sqrt(variance + attributes(node).get("epsilon", 1e-5))
        names, arrays = scaled(before, weights, factor, beta - mean * factor, node.output[0])
        added.update(arrays)
        replaced[id(before)] = copied(before, inputs=names, outputs=[node.output[0]])
        dropped.add(id(node))
    if not dropped:
        return graph
    return graph.edited([replaced.get(id(node), node) for node in graph.nodes if id(node) not in dropped], added)


FOLD_BATCH_NORM = Pass("fold_batch_norm", fold_batch_norm, ensures=frozenset({"no_conv_batch_norm"}))
