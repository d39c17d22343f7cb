"""TensorFlow Lite in int8: everything between the float ends is integer.

Source of the rules on scales: the TensorFlow Lite 8-bit quantization specification.
"""

from __future__ import annotations

from collections.abc import Mapping

from converters.calibrate.ranges import Range
from converters.model import Graph
from converters.targets.formats import INT8
from converters.targets.scales import Scale, activation_scale
from converters.targets.tflite_lower import lower

SAME_SCALE = ("MaxPool", "AveragePool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze")
"""Operators whose integer kernel has one scale for input and output."""

_FIXED: Mapping[str, Scale] = {"Softmax": Scale(1 / 256, -128), "Sigmoid": Scale(1 / 256, -128), "Tanh": Scale(1 / 128, 0)}


def emit_tflite_int8(graph: Graph, ranges: Mapping[str, Range], keep_float: frozenset[str] = frozenset()) -> bytes:
    """The file; float inputs are quantized and outputs made real again inside it. ``ranges`` has the calibrated extent of every float
    tensor; ``keep_float`` the first-output names of nodes that stay float. Raises :class:`~converters.errors.UnsupportedOp`."""
    return lower(graph, INT8, _scales(graph, ranges), keep_float)


def _scales(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, Scale]:
    scales: dict[str, Scale] = {}
    for spec in graph.inputs:
        if spec.name in ranges:
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
