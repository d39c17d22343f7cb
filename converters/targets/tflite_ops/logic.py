"""Element types, comparisons and choices."""

from __future__ import annotations

from typing import Any

from converters.targets.flatbuffer import TYPES
from converters.targets.tflite_canvas import Canvas
from converters.targets.tflite_ops.arithmetic import operand, widest_order
from converters.targets.tflite_ops.lowering import Lower, refuse, write


def cast(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    source = node.input[0]
    kinds = [canvas.dtype(source), canvas.dtype(result)]
    if any(kind not in TYPES for kind in kinds):
        raise refuse(node, f"from {kinds[0]} to {kinds[1]} is not written")
    order = canvas.placed(source).order
    index, target = canvas.get(source, order), canvas.put(result, order)
    words = [getattr(canvas.words.TensorType, TYPES[kind]) for kind in kinds]
    write(canvas, "CAST", [index], target, "CastOptions", inDataType=words[0], outDataType=words[1])


def compare(code: str, table: str) -> Lower:
    """Two tensors value by value, or one (Not)."""

    def lower(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
        order = widest_order(canvas, node)
        indices = [operand(canvas, node, name, order) for name in node.input]
        write(canvas, code, indices, canvas.put(result, order), table)

    return lower


def where(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    """The integer kernel chooses between codes, so both sides are brought to the scale of the result."""
    if canvas.dtype(result) not in ("float32", "int32", "int64", "bool"):
        raise refuse(node, f"for {canvas.dtype(result)} it is not written")
    order = widest_order(canvas, node)
    condition = operand(canvas, node, node.input[0], order)
    sides = [operand(canvas, node, name, order, canvas.scale(result)) for name in node.input[1:]]
    write(canvas, "SELECT_V2", [condition, *sides], canvas.put(result, order), "SelectV2Options")
