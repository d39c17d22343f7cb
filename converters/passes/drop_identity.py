"""Nodes that do nothing at inference: Identity, Dropout, a Cast to the type its input already has."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from converters.model import Graph, attributes, copied
from converters.passes.contract import Pass
from converters.shapes import infer_shapes


def drop_identity(graph: Graph) -> Graph:
    shapes = infer_shapes(graph)
    renamed: dict[str, str] = {}
    kept: list[Any] = []
    fixed = graph.output_names() | {spec.name for spec in graph.inputs}
    for node in graph.nodes:
        inputs = [renamed.get(name, name) for name in node.input]
        if _does_nothing(node, shapes) and node.output[0] not in fixed:
            renamed[node.output[0]] = inputs[0]
            continue
        kept.append(node if inputs == list(node.input) else copied(node, inputs=inputs))
    return graph.edited(kept) if renamed else graph


def _does_nothing(node: Any, shapes: Any) -> bool:
    if any(attribute.g.node or attribute.graphs for attribute in node.attribute):
        return False
    if node.op_type in ("Identity", "Dropout"):
        training = node.input[2] if len(node.input) > 2 else ""
        return not training and not any(node.output[1:])
    if node.op_type == "Cast":
        source = shapes.get(node.input[0])
        try:
            wanted = str(np.dtype(helper.tensor_dtype_to_np_dtype(attributes(node)["to"])))
        except KeyError:  # no type, or one that is not known: the runtime will say so
            return False
        return source is not None and source.dtype == wanted
    return False


DROP_IDENTITY = Pass("drop_identity", drop_identity)
