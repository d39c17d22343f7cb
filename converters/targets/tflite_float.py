"""TensorFlow Lite in float32."""

from __future__ import annotations

from converters.model import Graph
from converters.targets.tflite_lower import lower


def emit_tflite_float(graph: Graph) -> bytes:
    """The file. Inputs and outputs keep their names, shapes and layout. Raises :class:`~converters.errors.UnsupportedOp`."""
    return lower(graph)
