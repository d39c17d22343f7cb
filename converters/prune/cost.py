"""What a graph costs: multiplications, parameters, and the values it moves."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from converters.model import Graph
from converters.shapes import infer_shapes
from edge_agent.values import TensorSpec


@dataclass(frozen=True, slots=True)
class NodeCost:
    """Of one node: multiply-accumulates (of Conv, ConvTranspose, Gemm and MatMul; other operators are not counted), the entries of its
    float
    constants, and the entries of the other tensors it reads and writes. Sizes that are not known count as 1."""

    name: str
    op: str
    macs: int
    params: int
    moved: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a whole graph, one inference. A constant that several nodes read is one set of ``params``."""

    macs: int
    params: int
    by_node: tuple[NodeCost, ...]


def cost(graph: Graph) -> Cost:
    """The cost of ``graph``. Runs shape inference, which is native code; raises :class:`~converters.errors.InputError` as that does."""
    shapes = infer_shapes(graph)
    nodes = tuple(_of_node(node, graph, shapes) for node in graph.nodes)
    params = sum(int(array.size) for array in graph.constants.values() if array.dtype.kind == "f")
    return Cost(sum(node.macs for node in nodes), params, nodes)


def _of_node(node: Any, graph: Graph, shapes: dict[str, TensorSpec] | Any) -> NodeCost:
    held = [name for name in node.input if name in graph.constants]
    params = sum(int(graph.constants[name].size) for name in held if graph.constants[name].dtype.kind == "f")
    moved = sum(_size(shapes, name) for name in (*node.input, *node.output) if name and name not in graph.constants)
    return NodeCost(node.output[0], node.op_type, _macs(node, shapes), params, moved)


def _macs(node: Any, shapes: Any) -> int:
    """A convolution does its whole kernel (output channels x inputs of a group x taps) at every place, a product one row at a time."""
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return 0
    weight, shown = (shapes[name].shape if name in shapes else () for name in (node.input[1], node.input[0]))
    out = shapes[node.output[0]].shape if node.output[0] in shapes else ()
    if node.op_type == "Conv":
        return _product(weight) * _product(out[:1] + out[2:])
    if node.op_type == "ConvTranspose":
        return _product(weight) * _product(shown[:1] + shown[2:])
    inner = weight[-2:][0] if node.op_type == "MatMul" and weight else _inner(node, weight)
    return _product(out) * (inner or 1)


def _inner(node: Any, weight: tuple[int | None, ...]) -> int | None:
    flipped = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return weight[1 if flipped else 0] if len(weight) == 2 else None


def _size(shapes: Any, name: str) -> int:
    return _product(shapes[name].shape) if name in shapes else 1


def _product(sizes: tuple[int | None, ...]) -> int:
    return prod(size or 1 for size in sizes)
