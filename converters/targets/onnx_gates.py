"""Activations made of sums and products, written as those: sums and products have integer kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import helper

from converters.calibrate.ranges import Range
from converters.model import Graph, attributes


def plain_gates(graph: Graph, ranges: Mapping[str, Range], keep_float: frozenset[str]) -> tuple[Graph, dict[str, Range]]:
    """The graph with HardSwish as a product with its gate (HardSigmoid) and quotients by constants as products, and ``ranges`` with those
    of the new tensors. Nodes whose first output is in ``keep_float`` stay as they are."""
    nodes: list[Any] = []
    constants: dict[str, Any] = {}
    known = dict(ranges)
    for node in graph.nodes:
        result = node.output[0]
        factor = _reciprocal(graph, node)
        if result in keep_float or (node.op_type != "HardSwish" and factor is None):
            nodes.append(node)
        elif factor is None:
            known[f"{result}/gate"] = (0.0, 1.0)
            nodes.append(helper.make_node("HardSigmoid", [node.input[0]], [f"{result}/gate"], alpha=1 / 6, beta=0.5))
            nodes.append(helper.make_node("Mul", [node.input[0], f"{result}/gate"], [result], node.name))
        else:
            constants[f"{result}/factor"] = factor
            nodes.append(helper.make_node("Mul", [node.input[0], f"{result}/factor"], [result], node.name))
    return graph.edited(nodes, constants), known


def _reciprocal(graph: Graph, node: Any) -> Any:
    """What to multiply by instead of dividing; ``None`` when ``node`` divides by nothing constant, or by zeros."""
    divisor = graph.constants.get(node.input[1]) if node.op_type == "Div" else None
    if divisor is None or divisor.dtype != np.float32 or bool((np.abs(divisor) < 1e-30).any()):
        return None
    return (1 / divisor.astype(np.float64)).astype(np.float32)


def gate_terms(node: Any) -> tuple[float, float]:
    """Factor and summand of a HardSigmoid: it is factor * clip(x + summand, 0, 1 / factor)."""
    options = attributes(node)
    factor = float(options.get("alpha", 0.2))
    return factor, float(options.get("beta", 0.5)) / factor if factor else 0.0
