"""Recurrent layers that could not be written out step by step."""

from __future__ import annotations

from typing import Any

from converters.passes.unroll_recurrent import why_not_unrolled
from converters.targets.tflite_canvas import Canvas
from converters.targets.tflite_ops.lowering import refuse


def recurrent(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    """Always raises: the pass before this has replaced all others."""
    raise refuse(node, why_not_unrolled(node, canvas.graph.constants, canvas.shapes) or "it was not written out")
