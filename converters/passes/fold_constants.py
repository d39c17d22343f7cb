"""Nodes whose inputs are all constants are computed now, by ONNX's reference implementation; so is the shape of a tensor of fixed shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from converters.model import ONNX_DOMAINS, Graph, attributes, ir_version_for
from converters.passes.contract import Pass
from converters.shapes import infer_shapes
from edge_agent.values import DTYPES, TensorSpec

MAX_BYTES = 64 << 20
_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")


def fold_constants(graph: Graph) -> Graph:
    found: dict[str, Any] = dict(graph.constants)
    kept: list[Any] = []
    shapes = infer_shapes(graph) if any(node.op_type in ("Shape", "Size") for node in graph.nodes) else {}
    for node in graph.nodes:
        results = _measured(node, shapes) or _computed(node, found, graph.opset)
        if results is None:
            kept.append(node)
        else:
            found.update(results)
    if len(kept) == len(graph.nodes):
        return graph
    shown = graph.output_names() & (set(found) - set(graph.constants))
    # An output of the model must be written by a node, not be a constant.
    kept += [helper.make_node("Identity", [f"{name}/value"], [name]) for name in sorted(shown)]
    for name in shown:
        found[f"{name}/value"] = found.pop(name)
    return graph.edited(kept, found)


def _measured(node: Any, shapes: Mapping[str, TensorSpec]) -> dict[str, Any] | None:
    """The output of a Shape or Size whose input has a fixed shape (``start`` and ``end`` as in Python's slices, operator set 15)."""
    if node.op_type not in ("Shape", "Size") or node.domain not in ONNX_DOMAINS or len(node.output) != 1 or not node.input:
        return None
    spec = shapes.get(node.input[0])
    if spec is None or None in spec.shape:
        return None
    if node.op_type == "Size":
        return {node.output[0]: np.array(math.prod(int(size or 0) for size in spec.shape), np.int64)}
    options = attributes(node)
    return {node.output[0]: np.array(spec.shape[options.get("start", 0) : options.get("end", len(spec.shape))], np.int64)}


def _computed(node: Any, constants: dict[str, Any], opset: int) -> dict[str, Any] | None:
    """The outputs of ``node`` by name, or ``None`` when they depend on inputs or should not be kept."""
    nested = any(attribute.g.node or attribute.graphs for attribute in node.attribute)
    if nested or node.domain not in ONNX_DOMAINS or node.op_type in _RANDOM or len(node.output) != 1:
        return None
    if any(name and name not in constants for name in node.input):
        return None
    from onnx.reference import ReferenceEvaluator  # a fifth of the time that onnx takes to import, and few files need it

    feeds = {name: constants[name] for name in node.input if name}
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in feeds.items()]
    output = helper.make_value_info(node.output[0], onnx.TypeProto())
    body = helper.make_graph([node], "one", [], [output], held)
    if node.op_type == "DequantizeLinear":  # the reference has only newer forms of it, which take in the older
        opset = max(opset, 19)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version_for(opset))
    try:
        if _too_large(model):  # told beforehand: eight bytes can ask for a tensor of any size
            return None
        results: Any = ReferenceEvaluator(model).run(None, {})
    except Exception:  # an operator the reference does not know stays in the graph
        return None
    result = results[0]
    if not isinstance(result, np.ndarray) or result.nbytes > MAX_BYTES or str(result.dtype) not in DTYPES:
        return None
    return {node.output[0]: result}


def _too_large(model: Any) -> bool:
    """Whether the output of a model of one node is known to be larger than what is kept. An element is taken for its smallest, one byte."""
    told = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output[0].type.tensor_type.shape
    return math.prod(max(int(dim.dim_value), 1) for dim in told.dim) > MAX_BYTES


FOLD_CONSTANTS = Pass("fold_constants", fold_constants)
