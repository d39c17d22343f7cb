"""One tensor, value by value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from converters.model import attributes
from converters.targets.scales import Scale
from converters.targets.tflite_canvas import Canvas
from converters.targets.tflite_ops.arithmetic import operand
from converters.targets.tflite_ops.lowering import Lower, refuse, write
from converters.targets.tflite_ops.scaling import constant_on_scale

_ENDLESS = 3.4e38


def elementwise(code: str, table: str = "") -> Lower:
    def lower(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
        order = canvas.placed(node.input[0]).order
        index = canvas.get(node.input[0], order)
        write(canvas, code, [index], canvas.put(result, order), table)

    return lower


def leaky_relu(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    order = canvas.placed(node.input[0]).order
    alpha = attributes(node).get("alpha", 0.01)
    write(canvas, "LEAKY_RELU", [canvas.get(node.input[0], order)], canvas.put(result, order), "LeakyReluOptions", alpha=alpha)


def elu(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    if attributes(node).get("alpha", 1.0) != 1.0:
        raise refuse(node, "its alpha is not 1")
    elementwise("ELU")(canvas, node, result, rectifier)


def prelu(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    """The kernel wants the batch left out of the slopes."""
    slope = canvas.graph.constants.get(node.input[1])
    rank = len(canvas.shape(node.input[0]))
    if slope is None or rank < 2 or slope.ndim > rank or (slope.ndim == rank and slope.shape[0] != 1):
        raise refuse(node, "its slopes are not constants that all samples share")
    order = canvas.placed(node.input[0]).order
    if order[0] != 0:
        order = tuple(range(rank))
    whole = slope.reshape((1,) * (rank - slope.ndim) + slope.shape).transpose(order)[0]
    if canvas.quantized and not slope.any():
        whole = whole + np.float32(1e-6)  # a scale needs a value
    made = canvas.operand(node.input[1], whole)
    write(canvas, "PRELU", [canvas.get(node.input[0], order), made], canvas.put(result, order))


def gelu(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    approximate = bytes(attributes(node).get("approximate", b"none")).decode() == "tanh"
    order = canvas.placed(node.input[0]).order
    write(canvas, "GELU", [canvas.get(node.input[0], order)], canvas.put(result, order), "GeluOptions", approximate=approximate)


def clip(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    """A rectifier's bounds in its own operator; others by MINIMUM and MAXIMUM. In integers, codes end at the bounds by themselves."""
    bounds = clip_bounds(node, canvas.graph.constants)
    if bounds is None:
        raise refuse(node, "its bounds are not constants")
    word = _word(bounds)
    if word and not (canvas.quantized and word == "RELU_N1_TO_1"):
        elementwise(word)(canvas, node, result, rectifier)
        return
    order, scale = canvas.placed(node.input[0]).order, canvas.scale(result)
    index = operand(canvas, node, node.input[0], order, scale)
    limits = _limits(canvas, bounds, scale)
    if not limits:
        canvas.view(result, index, order)
        return
    target, shape = canvas.put(result, order), canvas.flat.shape(index)
    for count, (code, limit) in enumerate(limits, 1):
        made = target if count == len(limits) else canvas.temporary(f"{result}/{code}", shape, scale, canvas.dtype(result))
        array = np.asarray([limit], canvas.dtype(result))
        write(canvas, code, [index, constant_on_scale(canvas, f"{result}/limit", array, scale)], made, "MaximumMinimumOptions")
        index = made


def _limits(canvas: Canvas, bounds: tuple[float, float], scale: Scale | None) -> list[tuple[str, float]]:
    """What has to be written to keep values within ``bounds``: nothing for an end that codes on ``scale`` do not pass."""
    low, high = -_ENDLESS, _ENDLESS
    if scale is not None:
        kind = np.iinfo(canvas.form.activations)
        low, high = ((end - scale.zero_point) * scale.scale for end in (kind.min + 0.5, kind.max - 0.5))
    found = [("MAXIMUM", bounds[0])] if bounds[0] > low else []
    return [*found, ("MINIMUM", bounds[1])] if bounds[1] < high else found


def clip_bounds(node: Any, constants: Mapping[str, Any]) -> tuple[float, float] | None:
    """The two ends of a Clip, infinite where there is none; ``None`` when one is computed."""
    names = [*node.input[1:3], "", ""][:2]
    if any(name and name not in constants for name in names):
        return None
    low, high = (float(constants[name].reshape(())) if name else end for name, end in zip(names, (-np.inf, np.inf), strict=True))
    return low, high


def rectifier_word(node: Any, constants: Mapping[str, Any]) -> str:
    """TensorFlow Lite's word for a Relu or Clip node; empty when it has none."""
    if node.op_type == "Relu":
        return "RELU"
    bounds = clip_bounds(node, constants) if node.op_type == "Clip" else None
    return _word(bounds) if bounds else ""


def _word(bounds: tuple[float, float]) -> str:
    if bounds[1] >= _ENDLESS and bounds[0] == 0:
        return "RELU"
    return {(0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}.get(bounds, "")
