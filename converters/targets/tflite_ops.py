"""Each ONNX operator in TensorFlow Lite's words. One function an operator, and a table of them at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from converters.errors import UnsupportedOp
from converters.model import attributes
from converters.passes.linear import linear_weights
from converters.targets.tflite_canvas import CHANNELS_LAST, Canvas, only_ones_move
from converters.targets.tflite_windows import Windows, windows

Lower = Callable[[Canvas, Any, str, str], None]
"""Writes one node: canvas, node, name of the tensor it gives (after a fused rectifier), and that rectifier (NONE, RELU, ...)."""

_LOWEST_FLOAT = np.float32(-3.4e38)


def refuse(node: Any, why: str) -> UnsupportedOp:
    label = node.name or node.output[0]
    return UnsupportedOp(f"operator {node.op_type} (node {label}): {why}; --target onnx takes it")


def _conv(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    linear = linear_weights(node, canvas.graph.constants)
    if linear is None:
        raise refuse(node, "its weights are not constants")
    options, source = attributes(node), node.input[0]
    weight, group, channels = linear.weight, int(options.get("group", 1)), canvas.shape(source)[1]
    if weight.ndim != 4:
        raise refuse(node, f"it slides over {weight.ndim - 2} axes, TensorFlow Lite has it for 2")
    spans = windows(f"Conv {node.name}", options, weight.shape[2:], canvas.shape(source)[2:], canvas.shape(node.output[0])[2:])
    index, padding = _padded(canvas, source, spans)
    values = {
        "padding": getattr(canvas.words.Padding, padding),
        "strideH": spans.strides[0],
        "strideW": spans.strides[1],
        "dilationHFactor": spans.dilations[0],
        "dilationWFactor": spans.dilations[1],
        "fusedActivationFunction": getattr(canvas.words.ActivationFunctionType, rectifier),
    }
    if group == 1:
        code, table = "CONV_2D", "Conv2DOptions"
        made = canvas.weights(result, linear, weight.transpose(0, 2, 3, 1), 0, source)
    elif group == channels and weight.shape[1] == 1:
        code, table = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"
        values["depthMultiplier"] = weight.shape[0] // group
        made = canvas.weights(result, linear, weight.transpose(1, 2, 3, 0), 3, source)
    else:
        raise refuse(node, f"{group} groups of channels are neither one nor one for each channel")
    version = 3 if canvas.quantized else 2 if spans.dilations != (1, 1) else 1
    canvas.flat.operator(code, [index, *made], canvas.put(result, CHANNELS_LAST), table, values, version=version)


def _gemm(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    linear = linear_weights(node, canvas.graph.constants)
    if linear is None:
        raise refuse(node, "its weights are not constants, or alpha, beta or transA are set")
    placed = canvas.placed(node.input[0])
    weight = linear.weight if linear.axis == 0 else linear.weight.T
    if placed.columns is not None:
        weight = weight[:, placed.columns]
    index = placed.index if placed.columns is not None else canvas.get(node.input[0], (0, 1))
    made = canvas.weights(result, linear, np.ascontiguousarray(weight), 0, node.input[0])
    values = {"fusedActivationFunction": getattr(canvas.words.ActivationFunctionType, rectifier)}
    version = 4 if canvas.quantized else 1
    canvas.flat.operator("FULLY_CONNECTED", [index, *made], canvas.put(result, (0, 1)), "FullyConnectedOptions", values, version=version)


def _arithmetic(code: str, table: str) -> Lower:
    def lower(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
        constants = canvas.graph.constants
        changing = [name for name in node.input if name not in constants]
        if not changing:
            raise refuse(node, "both sides are constants")
        order = canvas.placed(changing[0]).order
        shape = canvas.shape(node.output[0])
        indices = []
        for name in node.input:
            if name in constants:
                indices.append(canvas.operand(name, _broadcastable(node, constants[name], order)))
            elif len(canvas.shape(name)) != len(shape):
                raise refuse(node, f"tensor {name} would have to grow dimensions")
            else:
                indices.append(canvas.get(name, order))
        values = {"fusedActivationFunction": getattr(canvas.words.ActivationFunctionType, rectifier)}
        canvas.flat.operator(code, indices, canvas.put(result, order), table, values, version=2 if canvas.quantized else 1)

    return lower


def _broadcastable(node: Any, array: Any, order: tuple[int, ...]) -> Any:
    """A constant with as many dimensions as the other side, stored in its order."""
    if array.ndim > len(order):
        raise refuse(node, "the constant has more dimensions than the other side")
    return array.reshape((1,) * (len(order) - array.ndim) + array.shape).transpose(order)


def _pool(code: str) -> Lower:
    def lower(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
        options, source = attributes(node), node.input[0]
        if any(node.output[1:]) or tuple(options.get("dilations", (1, 1))) != (1, 1) or options.get("ceil_mode", 0):
            raise refuse(node, "indices, dilations and ceil_mode are not written")
        spans = windows(
            f"{node.op_type} {node.name}", options, options["kernel_shape"], canvas.shape(source)[2:], canvas.shape(node.output[0])[2:]
        )
        # TensorFlow Lite never counts padding in an average.
        counted = code == "AVERAGE_POOL_2D" and any((*spans.before, *spans.after))
        if counted and bool(options.get("count_include_pad", 0)) == (spans.padding == "SAME"):
            raise refuse(node, "this padding of an average is not written")
        index, padding = _padded(canvas, source, spans, lowest=code == "MAX_POOL_2D")
        values = {
            "padding": getattr(canvas.words.Padding, padding),
            "strideH": spans.strides[0],
            "strideW": spans.strides[1],
            "filterHeight": spans.kernel[0],
            "filterWidth": spans.kernel[1],
            "fusedActivationFunction": getattr(canvas.words.ActivationFunctionType, rectifier),
        }
        target = canvas.put(result, CHANNELS_LAST)
        canvas.flat.operator(code, [index], target, "Pool2DOptions", values, version=2 if canvas.quantized else 1)

    return lower


def _padded(canvas: Canvas, source: str, spans: Windows, *, lowest: bool = False) -> tuple[int, str]:
    """The input of a window operator and the padding word for it; where no word fits, the padding is written out."""
    index = canvas.get(source, CHANNELS_LAST)
    if spans.padding:
        return index, spans.padding
    shape = list(canvas.flat.shape(index))
    for axis in (0, 1):
        shape[axis + 1] += spans.before[axis] + spans.after[axis]
    scale = canvas.scale(source)
    target = canvas.temporary(f"{source}/padded", shape, scale)
    amounts = canvas.ints([[0, 0], [spans.before[0], spans.after[0]], [spans.before[1], spans.after[1]], [0, 0]])
    version = 2 if canvas.quantized else 1
    if not lowest:
        canvas.flat.operator("PAD", [index, amounts], target, "PadOptions", version=version)
        return target, "VALID"
    if scale is None:
        value = canvas.flat.constant("lowest", np.array([_LOWEST_FLOAT], np.float32))
    else:
        value = canvas.flat.constant("lowest", np.array([-128], np.int8), [scale.scale], 0, scale.zero_point)
    canvas.flat.operator("PADV2", [index, amounts, value], target, "PadV2Options", version=version)
    return target, "VALID"


def _mean(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    source = node.input[0]
    shape, options = canvas.shape(source), attributes(node)
    if node.op_type == "GlobalAveragePool":
        axes, keep = list(range(2, len(shape))), True
    else:
        given = options.get("axes")
        if given is None and len(node.input) > 1 and node.input[1]:
            given = canvas.graph.constants.get(node.input[1])
        if given is None:
            raise refuse(node, "its axes are not constants")
        axes, keep = sorted(int(axis) % len(shape) for axis in given), bool(options.get("keepdims", 1))
    placed = canvas.placed(source)
    kept = [axis for axis in placed.order if axis not in axes]
    order = placed.order
    if not keep and kept != sorted(kept):
        order = tuple(range(len(shape)))
    index = canvas.get(source, order)
    target = canvas.put(result, order if keep else tuple(range(len(kept))))
    stored = canvas.ints([order.index(axis) for axis in axes])
    canvas.flat.operator("MEAN", [index, stored], target, "ReducerOptions", {"keepDims": keep}, version=2 if canvas.quantized else 1)


def _reshape(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    source = node.input[0]
    shape, target_shape = canvas.shape(source), canvas.shape(result)
    placed, plain = canvas.placed(source), tuple(range(len(shape)))
    columns = None
    if not only_ones_move(shape, placed.order, plain):
        if _only_dense_after(canvas, result) and target_shape[0] == shape[0] == 1 and len(target_shape) == 2:
            # The dense layer's weights are put in the stored order instead of the values in the weights' order: no transpose at run time.
            columns = np.arange(target_shape[1]).reshape(shape).transpose(placed.order).reshape(-1)
        else:
            placed_index = canvas.get(source, plain)
            canvas.reshape(placed_index, canvas.put(result, tuple(range(len(target_shape)))))
            return
    canvas.reshape(placed.index, canvas.put(result, tuple(range(len(target_shape))), columns))


def _only_dense_after(canvas: Canvas, name: str) -> bool:
    readers = canvas.graph.consumers().get(name, [])
    dense = all(n.op_type == "Gemm" and n.input[0] == name and linear_weights(n, canvas.graph.constants) is not None for n in readers)
    return bool(readers) and dense and name not in canvas.graph.output_names()


def _transpose(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    placed = canvas.placed(node.input[0])
    axes = list(attributes(node).get("perm", reversed(range(len(placed.order)))))
    canvas.view(result, placed.index, tuple(axes.index(axis) for axis in placed.order))


def _elementwise(code: str, table: str = "", version: int = 2) -> Lower:
    def lower(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
        placed = canvas.placed(node.input[0])
        values = {"alpha": attributes(node).get("alpha", 0.01)} if code == "LEAKY_RELU" else {}
        target = canvas.put(result, placed.order)
        canvas.flat.operator(code, [placed.index], target, table, values, version=version if canvas.quantized else 1)

    return lower


def _clip(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    word = rectifier_word(node, canvas.graph.constants)
    if not word:
        raise refuse(node, "of all bounds only 0 to 6, 0 and up, and -1 to 1 are written")
    _elementwise(word)(canvas, node, result, rectifier)


def _softmax(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    rank = len(canvas.shape(node.input[0]))
    if int(attributes(node).get("axis", -1)) % rank != rank - 1:
        raise refuse(node, "its axis is not the last")
    plain = tuple(range(rank))
    index = canvas.get(node.input[0], plain)
    version = 2 if canvas.quantized else 1
    canvas.flat.operator("SOFTMAX", [index], canvas.put(result, plain), "SoftmaxOptions", {"beta": 1.0}, version=version)


def _concat(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    order = canvas.placed(node.input[0]).order
    wanted = canvas.scale(result)
    indices = []
    for name in node.input:
        index = canvas.get(name, order)
        if canvas.scale(name) != wanted:  # the integer kernel joins only what is on one scale
            target = canvas.temporary(f"{name}/rescaled", canvas.flat.shape(index), wanted)
            canvas.flat.operator("QUANTIZE", [index], target, "QuantizeOptions", version=2)
            index = target
        indices.append(index)
    axis = order.index(int(attributes(node)["axis"]) % len(order))
    version = 2 if canvas.quantized else 1
    canvas.flat.operator("CONCATENATION", indices, canvas.put(result, order), "ConcatenationOptions", {"axis": axis}, version=version)


def rectifier_word(node: Any, constants: Mapping[str, Any]) -> str:
    """TensorFlow Lite's word for a Relu or Clip node; empty when it has none."""
    if node.op_type == "Relu":
        return "RELU"
    if node.op_type != "Clip":
        return ""
    names = [*node.input[1:3], "", ""][:2]
    if any(name and name not in constants for name in names):
        return ""
    low, high = (float(constants[name].reshape(())) if name else end for name, end in zip(names, (-np.inf, np.inf), strict=True))
    if high >= 3.4e38 and low == 0:
        return "RELU"
    return {(0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}.get((low, high), "")


LOWERINGS: Mapping[str, Lower] = {
    "Add": _arithmetic("ADD", "AddOptions"),
    "AveragePool": _pool("AVERAGE_POOL_2D"),
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Flatten": _reshape,
    "Gemm": _gemm,
    "GlobalAveragePool": _mean,
    "LeakyRelu": _elementwise("LEAKY_RELU", "LeakyReluOptions"),
    "MaxPool": _pool("MAX_POOL_2D"),
    "Mul": _arithmetic("MUL", "MulOptions"),
    "ReduceMean": _mean,
    "Relu": _elementwise("RELU"),
    "Reshape": _reshape,
    "Sigmoid": _elementwise("LOGISTIC"),
    "Softmax": _softmax,
    "Squeeze": _reshape,
    "Sub": _arithmetic("SUB", "SubOptions"),
    "Tanh": _elementwise("TANH"),
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
"""What can be written."""

FUSING = ("Conv", "Gemm", "Add", "Sub", "Mul")
"""Operators that take a rectifier right behind them into themselves."""

FLOAT_ONLY: frozenset[str] = frozenset()
"""Operators without an integer kernel: they are computed in float in every format."""
