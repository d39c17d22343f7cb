"""What every function that writes an operator shares: its shape, its refusals, the constants it reads, the version it states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from converters.errors import UnsupportedOp
from converters.model import attributes
from converters.targets.tflite_canvas import Canvas
from converters.targets.tflite_ops.versions import VERSIONS

Lower = Callable[[Canvas, Any, str, str], None]
"""Writes one node: canvas, node, name of the tensor it gives (after a fused rectifier), and that rectifier (NONE, RELU, ...)."""


def refuse(node: Any, why: str) -> UnsupportedOp:
    label = node.name or node.output[0]
    return UnsupportedOp(f"operator {node.op_type} (node {label}): {why}; --target onnx takes it")


def constant(canvas: Canvas, node: Any, position: int) -> Any:
    """The constant array at input ``position``; ``None`` when that input is absent. Raises UnsupportedOp when it is computed."""
    if len(node.input) <= position or not node.input[position]:
        return None
    found = canvas.graph.constants.get(node.input[position])
    if found is None:
        raise refuse(node, f"its input {node.input[position]} is not a constant")
    return found


def whole_numbers(canvas: Canvas, node: Any, position: int, attribute: str) -> list[int] | None:
    """Numbers that newer operator sets take as input ``position`` and older ones as ``attribute``; ``None`` when neither is given."""
    found = constant(canvas, node, position)
    if found is None:
        found = attributes(node).get(attribute)
    if found is None:
        return None
    return (
        [int(found)]
        if isinstance(found, int)
        else [int(number) for number in found.reshape(-1)]
        if hasattr(found, "reshape")
        else list(found)
    )


def write(
    canvas: Canvas, code: str, inputs: Sequence[int], target: int | Sequence[int], options: str = "", *, version: int = 0, **values: Any
) -> None:
    """One operator in the version that its kernel needs for the element types of the node being written; a rectifier is given by word."""
    if "fusedActivationFunction" in values:
        values["fusedActivationFunction"] = getattr(canvas.words.ActivationFunctionType, values["fusedActivationFunction"])
    canvas.flat.operator(code, inputs, target, options, values, version=version or version_of(canvas, code))


def version_of(canvas: Canvas, code: str) -> int:
    """The lowest version of operator ``code`` that takes float32, or the codes of the node being written."""
    column = ("float32", "int8", "int16").index(canvas.form.activations if canvas.quantized else "float32")
    return VERSIONS.get(code, (1, 1, 1))[column]
