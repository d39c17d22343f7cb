"""Nodes that do nothing at inference: Identity, Dropout, a Cast to the type its input already has, a Reshape or Transpose that changes
nothing, and of a Squeeze and the Unsqueeze that undoes it (or the other way round) the second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import helper

from converters.model import ONNX_DOMAINS, Graph, attributes, copied, reads
from converters.passes.contract import Pass
from converters.shapes import infer_shapes
from edge_agent.values import TensorSpec

_OPPOSITE = {"Unsqueeze": "Squeeze", "Squeeze": "Unsqueeze"}

Shapes = Mapping[str, TensorSpec]


def drop_identity(graph: Graph) -> Graph:
    shapes, producers = infer_shapes(graph), graph.producers()
    renamed: dict[str, str] = {}
    kept: list[Any] = []
    fixed = graph.output_names() | {spec.name for spec in graph.inputs}
    inner = {name for node in graph.nodes for name in _read_inside(node)}  # subgraphs read by name: those names stay
    for node in graph.nodes:
        inputs = [renamed.get(name, name) for name in node.input]
        source = _same_as(node, graph, shapes, producers)
        if source and node.output[0] not in fixed and node.output[0] not in inner:
            renamed[node.output[0]] = renamed.get(source, source)
            continue
        kept.append(node if inputs == list(node.input) else copied(node, inputs=inputs))
    return graph.edited(kept) if renamed else graph


def _same_as(node: Any, graph: Graph, shapes: Shapes, producers: Mapping[str, Any]) -> str:
    """The tensor that the first output of ``node`` equals, empty when it is a new one."""
    if node.domain not in ONNX_DOMAINS or not node.input or any(attribute.g.node or attribute.graphs for attribute in node.attribute):
        return ""
    if _does_nothing(node, shapes):
        return str(node.input[0])
    before = producers.get(node.input[0]) if node.op_type in _OPPOSITE else None
    if before is not None and before.op_type == _OPPOSITE[node.op_type] and _undone(before, node, graph, shapes):
        return str(before.input[0])
    return ""


def _does_nothing(node: Any, shapes: Shapes) -> bool:
    if node.op_type in ("Identity", "Dropout"):
        training = node.input[2] if len(node.input) > 2 else ""
        return not training and not any(node.output[1:])
    source, result = shapes.get(node.input[0]), shapes.get(node.output[0])
    if node.op_type == "Cast":
        try:
            wanted = str(np.dtype(helper.tensor_dtype_to_np_dtype(attributes(node)["to"])))
        except KeyError:  # no type, or one that is not known: the runtime will say so
            return False
        return source is not None and source.dtype == wanted
    if source is None or result is None:
        return False
    if node.op_type == "Reshape":
        return source.shape == result.shape and None not in source.shape
    if node.op_type == "Transpose":
        return list(attributes(node).get("perm", reversed(range(len(source.shape))))) == list(range(len(source.shape)))
    return False


def _undone(before: Any, node: Any, graph: Graph, shapes: Shapes) -> bool:
    """Whether ``node`` brings back exactly the axes of size 1 that ``before`` took out, or takes out those it brought."""
    axes = [graph.constants.get(item.input[1]) if len(item.input) > 1 else None for item in (before, node)]
    whole = shapes.get(before.input[0] if before.op_type == "Squeeze" else before.output[0])
    if whole is None or any(array is None for array in axes):
        return False
    first, second = ({int(axis) % max(len(whole.shape), 1) for axis in np.asarray(array).reshape(-1)} for array in axes)
    return bool(first) and first == second


def _read_inside(node: Any) -> set[str]:
    return reads(node) - set(node.input)


DROP_IDENTITY = Pass("drop_identity", drop_identity)
