"""TensorFlow Lite in int8: everything between the float ends is integer.

Source of the rules on scales: the TensorFlow Lite 8-bit quantization specification.
"""

from __future__ import annotations

from collections.abc import Mapping

from converters.calibrate.ranges import Range
from converters.errors import UnsupportedOp
from converters.model import Graph
from converters.targets.scales import Scale, activation_scale
from converters.targets.tflite_lower import lower

SAME_SCALE = ("MaxPool", "AveragePool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze")
"""Operators whose integer kernel has one scale for input and output."""

_FIXED: Mapping[str, Scale] = {"Softmax": Scale(1 / 256, -128), "Sigmoid": Scale(1 / 256, -128), "Tanh": Scale(1 / 128, 0)}


def emit_tflite_int8(graph: Graph, ranges: Mapping[str, Range]) -> bytes:
    """The file; float inputs are quantized and outputs made real again inside it. ``ranges`` has the calibrated extent of every float
    tensor. Raises :class:`~converters.errors.UnsupportedOp`."""
    return lower(graph, _scales(graph, ranges))


def _scales(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, Scale]:
    scales: dict[str, Scale] = {}
    for spec in graph.inputs:
        if spec.name not in ranges:
            raise UnsupportedOp(f"input {spec.name} is {spec.dtype}, which int8 TensorFlow Lite does not take; try --target onnx")
        scales[spec.name] = activation_scale(ranges[spec.name], signed=True)
    for node in graph.nodes:
        for name in node.output:
            if node.op_type in SAME_SCALE and node.input[0] in scales:
                scales[name] = scales[node.input[0]]
            elif node.op_type in _FIXED:
                scales[name] = _FIXED[node.op_type]
            elif name in ranges:
                scales[name] = activation_scale(ranges[name], signed=True)
    return scales
