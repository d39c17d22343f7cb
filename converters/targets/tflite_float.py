"""TensorFlow Lite computed in float32, with weights of four, two or one byte."""

from __future__ import annotations

from converters.model import Graph
from converters.passes.for_tflite import expanded
from converters.targets.formats import FLOAT16, FLOAT32, WEIGHTS8
from converters.targets.tflite_lower import lower


def emit_tflite_float(graph: Graph) -> bytes:
    """The file. Inputs and outputs keep their names, shapes and layout. Raises :class:`~converters.errors.UnsupportedOp`."""
    return lower(expanded(graph), FLOAT32)


def emit_tflite_float16(graph: Graph) -> bytes:
    """Likewise with layers' weights stored as float16; inputs, outputs and arithmetic are float32."""
    return lower(expanded(graph), FLOAT16)


def emit_tflite_weights8(graph: Graph) -> bytes:
    """Likewise with layers' weights stored as int8 by output channel; inputs, outputs and arithmetic are float32."""
    return lower(expanded(graph), WEIGHTS8)
