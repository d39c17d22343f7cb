"""A product of a matrix with a constant one, and the constant added to it, as one dense layer (Gemm)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnx import helper

from converters.model import Graph
from converters.passes.contract import Pass
from converters.shapes import infer_shapes
from edge_agent.values import TensorSpec


def matmul_to_gemm(graph: Graph) -> Graph:
    shapes = infer_shapes(graph)
    consumers, shown = graph.consumers(), graph.output_names()
    replaced: dict[int, Any] = {}
    dropped: set[int] = set()
    for node in graph.nodes:
        if node.op_type != "MatMul" or not _dense(node, graph, shapes):
            continue
        after = consumers.get(node.output[0], [])
        bias = _bias(node, after[0], graph) if len(after) == 1 and node.output[0] not in shown else None
        if bias is None:
            replaced[id(node)] = helper.make_node("Gemm", list(node.input), list(node.output), node.name)
        else:
            replaced[id(node)] = helper.make_node("Gemm", [*node.input, bias], list(after[0].output), node.name)
            dropped.add(id(after[0]))
    if not replaced:
        return graph
    return graph.edited([replaced.get(id(node), node) for node in graph.nodes if id(node) not in dropped])


def _dense(node: Any, graph: Graph, shapes: Mapping[str, TensorSpec]) -> bool:
    left, right = shapes.get(node.input[0]), graph.constants.get(node.input[1])
    return left is not None and len(left.shape) == 2 and right is not None and right.ndim == 2


def _bias(node: Any, after: Any, graph: Graph) -> str | None:
    """The name of the constant that ``after`` adds to each column, if that is what it does."""
    if after.op_type != "Add":
        return None
    other = after.input[1] if after.input[0] == node.output[0] else after.input[0]
    columns = graph.constants[node.input[1]].shape[1]
    constant = graph.constants.get(other)
    if constant is None or constant.size != columns or constant.shape[-1:] != (columns,) or constant.ndim > 2:
        return None
    return str(other)


MATMUL_TO_GEMM = Pass("matmul_to_gemm", matmul_to_gemm)
