"""The shape of a tensor that is fixed, as the constant it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.model import ONNX_DOMAINS, Graph, attributes
from converters.passes.contract import Pass
from converters.shapes import infer_shapes


def fold_shapes(graph: Graph) -> Graph:
    if not any(node.op_type == "Shape" for node in graph.nodes):
        return graph
    shapes, shown = infer_shapes(graph), graph.output_names()
    kept: list[Any] = []
    found: dict[str, Any] = {}
    for node in graph.nodes:
        spec = shapes.get(node.input[0]) if node.op_type == "Shape" and node.domain in ONNX_DOMAINS else None
        if spec is None or None in spec.shape or node.output[0] in shown:
            kept.append(node)
            continue
        options = attributes(node)
        found[node.output[0]] = np.asarray(spec.shape[options.get("start", 0) : options.get("end", len(spec.shape))], np.int64)
    return graph.edited(kept, found) if found else graph


FOLD_SHAPES = Pass("fold_shapes", fold_shapes)
