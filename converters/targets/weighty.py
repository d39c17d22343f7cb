"""Which constants of a network are weights, and which of their axes counts output channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converters.model import Graph, attributes, reads


def weight_axes(graph: Graph) -> dict[str, int]:
    """The channel axis of every float constant that all its readers multiply by, as a weight, along the same axis."""
    found: dict[str, set[int | None]] = {}
    for node in graph.nodes:
        for position, name in enumerate(node.input):
            if name in graph.constants:
                found.setdefault(name, set()).add(weight_axis(node, graph.constants) if position == 1 else None)
    inner = {name for node in graph.nodes for name in _reads_inside(node)}
    axes: dict[str, int] = {}
    for name, seen in found.items():
        axis = next(iter(seen))
        if len(seen) == 1 and axis is not None and name not in inner:
            axes[name] = axis
    return axes


def weight_axis(node: Any, constants: Mapping[str, Any]) -> int | None:
    """The axis of the second input of ``node`` that counts output channels, when that is a constant weight; else ``None``."""
    weight = constants.get(node.input[1]) if len(node.input) > 1 else None
    if weight is None or weight.dtype.kind != "f" or weight.ndim < 2:
        return None
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "MatMul":
        return int(weight.ndim) - 1
    if node.op_type == "Gemm":
        return 0 if attributes(node).get("transB", 0) else 1
    return None


def _reads_inside(node: Any) -> set[str]:
    return reads(node) - set(node.input)
