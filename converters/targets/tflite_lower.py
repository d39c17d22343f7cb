"""A whole graph onto a canvas, in float or, with scales, in int8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converters.model import ONNX_DOMAINS, Graph
from converters.targets.scales import Scale
from converters.targets.tflite_canvas import Canvas
from converters.targets.tflite_ops import FUSING, LOWERINGS, rectifier_word, refuse


def lower(graph: Graph, scales: Mapping[str, Scale] | None = None) -> bytes:
    """The TensorFlow Lite file. Raises :class:`~converters.errors.UnsupportedOp` naming operator and node."""
    for node in graph.nodes:  # all of them first: a refusal costs no work
        if node.domain not in ONNX_DOMAINS or node.op_type not in LOWERINGS:
            raise refuse(node, "cannot be written for TensorFlow Lite")
    canvas = Canvas(graph, scales)
    inputs = canvas.begin()
    fused: set[int] = set()
    for node, rectifier, word in with_rectifiers(graph):
        if id(node) in fused:
            continue
        result = node.output[0]
        if rectifier is not None:
            fused.add(id(rectifier))
            result = rectifier.output[0]
        LOWERINGS[node.op_type](canvas, node, result, word)
    return canvas.flat.finish(inputs, canvas.end())


def with_rectifiers(graph: Graph) -> list[tuple[Any, Any, str]]:
    """Every node in order, with the rectifier it takes in (or ``None``) and the word for that."""
    consumers, shown = graph.consumers(), graph.output_names()
    pairs: list[tuple[Any, Any, str]] = []
    for node in graph.nodes:
        after = consumers.get(node.output[0], []) if node.op_type in FUSING and node.output[0] not in shown else []
        word = rectifier_word(after[0], graph.constants) if len(after) == 1 else ""
        pairs.append((node, after[0] if word else None, word or "NONE"))
    return pairs
