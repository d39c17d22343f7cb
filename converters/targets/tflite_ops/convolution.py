"""Convolutions over two axes, and their transpose."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.model import attributes
from converters.passes.linear import LinearWeights, linear_weights
from converters.targets.tflite_canvas import CHANNELS_LAST, Canvas
from converters.targets.tflite_ops.lowering import refuse, version_of, write
from converters.targets.tflite_ops.padding import padded
from converters.targets.tflite_windows import windows


def conv(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    linear = linear_weights(node, canvas.graph.constants)
    if linear is None:
        raise refuse(node, "its weights are not constants")
    options, source = attributes(node), node.input[0]
    weight, group, channels = linear.weight, int(options.get("group", 1)), canvas.shape(source)[1]
    if weight.ndim != 4:
        raise refuse(node, f"it slides over {weight.ndim - 2} axes, TensorFlow Lite has it for 2")
    spans = windows(f"Conv {node.name}", options, weight.shape[2:], canvas.shape(source)[2:], canvas.shape(node.output[0])[2:])
    index, padding = padded(canvas, source, spans)
    values: dict[str, Any] = {
        "padding": getattr(canvas.words.Padding, padding),
        "strideH": spans.strides[0],
        "strideW": spans.strides[1],
        "dilationHFactor": spans.dilations[0],
        "dilationWFactor": spans.dilations[1],
        "fusedActivationFunction": rectifier,
    }
    if group == channels and weight.shape[1] == 1 and group > 1:
        code, table = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"
        values["depthMultiplier"] = weight.shape[0] // group
        made = canvas.weights(result, linear, weight.transpose(1, 2, 3, 0), 3, source)
    else:
        code, table = "CONV_2D", "Conv2DOptions"
        made = canvas.weights(result, linear, weight.transpose(0, 2, 3, 1), 0, source)
    version = max(version_of(canvas, code), 2 if spans.dilations != (1, 1) else 1, 6 if code == "CONV_2D" and group > 1 else 1)
    write(canvas, code, [index, *made], canvas.put(result, CHANNELS_LAST), table, version=version, **values)


def conv_transpose(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    weight = canvas.graph.constants.get(node.input[1])
    if weight is None or weight.ndim != 4:
        raise refuse(node, "its weights are not constants over two axes")
    options = attributes(node)
    if int(options.get("group", 1)) != 1 or tuple(options.get("dilations", (1, 1))) != (1, 1):
        raise refuse(node, "groups and dilations are not written")
    linear = LinearWeights(weight.transpose(1, 2, 3, 0), _bias(canvas, node, weight.shape[1]), 0)
    made = canvas.weights(result, linear, linear.weight, 0, node.input[0])
    strides = tuple(int(size) for size in options.get("strides", (1, 1)))
    size_in, size_out, kernel = canvas.shape(node.input[0])[2:], canvas.shape(node.output[0])[2:], weight.shape[2:]
    before = _before(node, options, [(i - 1) * s + k for i, s, k in zip(size_in, strides, kernel, strict=True)], size_out)
    word, grown = _word(before, size_in, size_out, strides, kernel)
    index, target = canvas.get(node.input[0], CHANNELS_LAST), canvas.put(result, CHANNELS_LAST)
    shape = list(canvas.flat.shape(target))
    values = {"padding": getattr(canvas.words.Padding, word), "strideH": strides[0], "strideW": strides[1]}
    if list(grown) == shape[1:3]:
        write(canvas, "TRANSPOSE_CONV", [canvas.ints(shape), made[0], index, made[1]], target, "TransposeConvOptions", **values)
        return
    whole = [shape[0], *grown, shape[3]]
    wide = canvas.temporary(f"{result}/whole", whole, canvas.scale(result))
    write(canvas, "TRANSPOSE_CONV", [canvas.ints(whole), made[0], index, made[1]], wide, "TransposeConvOptions", **values)
    write(canvas, "SLICE", [wide, canvas.ints([0, *before, 0]), canvas.ints(shape)], target, "SliceOptions")


def _bias(canvas: Canvas, node: Any, channels: int) -> Any:
    if len(node.input) < 3 or not node.input[2]:
        return np.zeros(channels, np.float32)
    bias = canvas.graph.constants.get(node.input[2])
    if bias is None:
        raise refuse(node, "its bias is not a constant")
    return bias


def _before(node: Any, options: Any, whole: list[int], size_out: tuple[int, ...]) -> list[int]:
    """What is cut off in front of the whole result, for each axis (ONNX, ConvTranspose: pads, auto_pad and output_shape)."""
    automatic = bytes(options.get("auto_pad", b"NOTSET")).decode()
    if automatic in ("SAME_UPPER", "SAME_LOWER") or "output_shape" in options:
        totals = [max(w - o, 0) for w, o in zip(whole, size_out, strict=True)]
        return [t // 2 if automatic == "SAME_UPPER" else t - t // 2 for t in totals]
    return [int(size) for size in options.get("pads", (0, 0, 0, 0))[:2]]


def _word(
    before: list[int], size_in: tuple[int, ...], size_out: tuple[int, ...], strides: tuple[int, ...], kernel: tuple[int, ...]
) -> tuple[str, tuple[int, ...]]:
    """The padding word, and the size to compute: that of the result, or a larger one to cut it from.

    SAME cuts half of what a convolution back would pad, rounded down, in front.
    """
    if list(size_out) == [(i - 1) * s + k for i, s, k in zip(size_in, strides, kernel, strict=True)] and not any(before):
        return "VALID", size_out
    back = [max((i - 1) * s + k - o, 0) for i, s, k, o in zip(size_in, strides, kernel, size_out, strict=True)]
    if all(-(-o // s) == i for o, s, i in zip(size_out, strides, size_in, strict=True)) and before == [b // 2 for b in back]:
        return "SAME", size_out
    sizes = zip(size_in, strides, kernel, size_out, before, strict=True)
    return "VALID", tuple(max((i - 1) * s + k, b + o) for i, s, k, o, b in sizes)
