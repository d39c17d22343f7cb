"""Pools over two axes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from converters.model import attributes
from converters.targets.tflite_canvas import CHANNELS_LAST, Canvas
from converters.targets.tflite_ops.lowering import refuse, write
from converters.targets.tflite_ops.padding import padded
from converters.targets.tflite_windows import Windows, windows


def max_pool(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    spans = _spans(canvas, node)
    index, padding = padded(canvas, node.input[0], spans, lowest=True)
    _write(canvas, "MAX_POOL_2D", index, canvas.put(result, CHANNELS_LAST), spans, padding)


def average_pool(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    """TensorFlow Lite leaves padding out of an average. Where it counts, zeros are written out in front; where some of those zeros do not
    count, each average is multiplied by what it was divided by too much."""
    spans, options = _spans(canvas, node), attributes(node)
    counting = bool(options.get("count_include_pad", 0))
    sizes = canvas.shape(node.input[0])[2:], canvas.shape(node.output[0])[2:]
    excess = np.multiply.outer(*(_excess(axis, spans, sizes[0][axis], sizes[1][axis], counting) for axis in (0, 1)))
    if spans.padding == "SAME" and not counting:
        excess = np.ones(1)
    else:
        spans = replace(spans, padding="VALID" if spans.padding == "VALID" else "")
    index, padding = padded(canvas, node.input[0], spans)
    target = canvas.put(result, CHANNELS_LAST)
    if np.all(excess == 1):
        _write(canvas, "AVERAGE_POOL_2D", index, target, spans, padding)
        return
    plain = canvas.temporary(f"{result}/average", canvas.flat.shape(target), canvas.scale(node.input[0]))
    _write(canvas, "AVERAGE_POOL_2D", index, plain, spans, padding)
    factors = canvas.operand(f"{result}/excess", excess[None, :, :, None])
    write(canvas, "MUL", [plain, factors], target, "MulOptions", fusedActivationFunction="NONE")


def _excess(axis: int, spans: Windows, size_in: int, size_out: int, counting: bool) -> Any:
    """Window length over the number of values that count, for each window along ``axis``."""
    low, high = (-spans.before[axis], size_in + spans.declared[axis]) if counting else (0, size_in)
    starts = np.arange(size_out) * spans.strides[axis] - spans.before[axis]
    counted = np.minimum(starts + spans.kernel[axis], high) - np.maximum(starts, low)
    return spans.kernel[axis] / np.maximum(counted, 1)


def _spans(canvas: Canvas, node: Any) -> Windows:
    options = attributes(node)
    if any(node.output[1:]) or set(options.get("dilations", (1,))) != {1}:
        raise refuse(node, "indices and dilations are not written")
    sizes = canvas.shape(node.input[0])[2:], canvas.shape(node.output[0])[2:]
    return windows(f"{node.op_type} {node.name}", options, options["kernel_shape"], *sizes)


def _write(canvas: Canvas, code: str, index: int, target: int, spans: Windows, padding: str) -> None:
    values = {
        "padding": getattr(canvas.words.Padding, padding),
        "strideH": spans.strides[0],
        "strideW": spans.strides[1],
        "filterHeight": spans.kernel[0],
        "filterWidth": spans.kernel[1],
    }
    write(canvas, code, [index], target, "Pool2DOptions", fusedActivationFunction="NONE", **values)
