"""A whole graph onto a canvas, in one of the number formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from converters.errors import UnsupportedOp
from converters.model import ONNX_DOMAINS, Graph
from converters.targets.formats import FLOAT16, FLOAT32, WEIGHTS8, Format
from converters.targets.mixed import integer_nodes
from converters.targets.scales import Scale
from converters.targets.tflite_canvas import Canvas
from converters.targets.tflite_ops.elementwise import rectifier_word
from converters.targets.tflite_ops.lowering import refuse
from converters.targets.tflite_ops.patterns import respelled
from converters.targets.tflite_ops.table import FLOAT_ONLY, FUSING, LOWERINGS


def lower(
    graph: Graph,
    form: Format = FLOAT32,
    scales: Mapping[str, Scale] | None = None,
    keep_float: frozenset[str] = frozenset(),
    *,
    codes_at_ends: bool = False,
) -> bytes:
    """The TensorFlow Lite file. Nodes whose first output is in ``keep_float`` are computed in float, whatever ``form`` says;
    ``codes_at_ends`` leaves out the conversions of inputs and outputs.

    Raises :class:`~converters.errors.UnsupportedOp` naming operator and node.
    """
    for node in graph.nodes:  # all of them first: a refusal costs no work
        if node.domain not in ONNX_DOMAINS or node.op_type not in LOWERINGS:
            raise refuse(node, "cannot be written for TensorFlow Lite")
    canvas = Canvas(graph, scales, form)
    inputs = canvas.begin()
    steps = _steps(respelled(graph))
    # A node that was written out in several is named before the slash in all of them.
    kept = keep_float | {node.output[0] for node in graph.nodes if node.output[0].rpartition("/")[0] in keep_float}
    integer = _integer(canvas, steps, kept) if form.integer else frozenset()
    for node, result, word in steps:
        canvas.quantized = node.output[0] in integer
        LOWERINGS[node.op_type](canvas, node, result, word)
    outputs = canvas.end()
    if form in (FLOAT16, WEIGHTS8) and not canvas.flat.has("DEQUANTIZE"):
        raise UnsupportedOp("there are no weights that are worth storing in fewer bytes")
    if codes_at_ends:
        inputs, outputs = canvas.flat.codes_at_ends(inputs, outputs)
    return canvas.flat.finish(inputs, outputs)


def _steps(graph: Graph) -> list[tuple[Any, str, str]]:
    """Every node to write, the tensor it leaves, and the word for the rectifier it takes in."""
    steps: list[tuple[Any, str, str]] = []
    fused: set[int] = set()
    for node, rectifier, word in with_rectifiers(graph):
        if id(node) in fused:
            continue
        if rectifier is not None:
            fused.add(id(rectifier))
        steps.append((node, (rectifier or node).output[0], word))
    return steps


def _integer(canvas: Canvas, steps: Sequence[tuple[Any, str, str]], keep_float: frozenset[str]) -> frozenset[str]:
    """The nodes to compute in integers. Raises :class:`UnsupportedOp` when no layer is among them."""
    changing = {spec.name for spec in canvas.graph.inputs} | {name for node in canvas.graph.nodes for name in node.output if name}
    chosen = integer_nodes([(node, result) for node, result, _ in steps], canvas.scales, canvas.shapes, changing, keep_float, FLOAT_ONLY)
    if not chosen:
        raise UnsupportedOp("there is no operator to quantize")
    return chosen


def with_rectifiers(graph: Graph) -> list[tuple[Any, Any, str]]:
    """Every node in order, with the rectifier it takes in (or ``None``) and the word for that."""
    consumers, shown = graph.consumers(), graph.output_names()
    pairs: list[tuple[Any, Any, str]] = []
    for node in graph.nodes:
        after = consumers.get(node.output[0], []) if node.op_type in FUSING and node.output[0] not in shown else []
        word = rectifier_word(after[0], graph.constants) if len(after) == 1 else ""
        pairs.append((node, after[0] if word else None, word or "NONE"))
    return pairs
