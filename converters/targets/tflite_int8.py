"""TensorFlow Lite in int8: everything between the float ends is integer.

Source of the rules on scales: the TensorFlow Lite 8-bit quantization specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from converters.calibrate.ranges import Range
from converters.model import Graph
from converters.passes.for_tflite import expanded
from converters.targets.formats import INT8
from converters.targets.scales import Scale, activation_scale
from converters.targets.tflite_lower import lower
from converters.targets.tflite_scales import tensor_scales

_FIXED: Mapping[str, Scale] = MappingProxyType(
    {
        "LogSoftmax": Scale(16 / 256, 127),
        "Sigmoid": Scale(1 / 256, -128),
        "Softmax": Scale(1 / 256, -128),
        "Tanh": Scale(1 / 128, 0),
    }
)


def emit_tflite_int8(graph: Graph, ranges: Mapping[str, Range], keep_float: frozenset[str] = frozenset()) -> bytes:
    """The file; float inputs are quantized and outputs made real again inside it. ``ranges`` has the calibrated extent of every float
    tensor; ``keep_float`` the first-output names of nodes that stay float. Raises :class:`~converters.errors.UnsupportedOp`."""
    return _emit(graph, ranges, keep_float, codes_at_ends=False)


def emit_tflite_int8_io(graph: Graph, ranges: Mapping[str, Range], keep_float: frozenset[str] = frozenset()) -> bytes:
    """As :func:`emit_tflite_int8`, with int8 inputs and outputs where they are quantized: for accelerators and microcontrollers that take
    nothing else. Their scales and zero points are in the file, and in the bundle's manifest."""
    return _emit(graph, ranges, keep_float, codes_at_ends=True)


def _emit(graph: Graph, ranges: Mapping[str, Range], keep_float: frozenset[str], *, codes_at_ends: bool) -> bytes:
    graph = expanded(graph)
    scales = tensor_scales(graph, ranges, lambda extent: activation_scale(extent, signed=True), _FIXED)
    return lower(graph, INT8, scales, keep_float, codes_at_ends=codes_at_ends)
