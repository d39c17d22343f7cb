"""ONNX in float32: the graph after the equivalent passes, nothing more."""

from __future__ import annotations

from converters.model import Graph, to_bytes


def emit_onnx_float(graph: Graph) -> bytes:
    """The ONNX file."""
    return to_bytes(graph)
