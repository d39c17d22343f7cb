"""Padding in front of window operators, where no word of TensorFlow Lite says it, and as an operator of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.model import attributes
from converters.targets.tflite_canvas import CHANNELS_LAST, Canvas
from converters.targets.tflite_ops.lowering import constant, refuse, whole_numbers, write
from converters.targets.tflite_ops.scaling import constant_on_scale
from converters.targets.tflite_windows import Windows

LOWEST = np.float32(-3.4e38)


def padded(canvas: Canvas, source: str, spans: Windows, *, lowest: bool = False) -> tuple[int, str]:
    """The input of a window operator and the padding word for it; where no word fits, the padding is written out."""
    index = canvas.get(source, CHANNELS_LAST)
    if spans.padding:
        return index, spans.padding
    amounts = [[0, 0], [spans.before[0], spans.after[0]], [spans.before[1], spans.after[1]], [0, 0]]
    shape = [size + sum(ends) for size, ends in zip(canvas.flat.shape(index), amounts, strict=True)]
    scale = canvas.scale(source)
    target = canvas.temporary(f"{source}/padded", shape, scale)
    if not lowest:
        write(canvas, "PAD", [index, canvas.ints(amounts)], target, "PadOptions")
        return target, "VALID"
    bottom = LOWEST if scale is None else (np.iinfo(canvas.form.activations).min - scale.zero_point) * scale.scale
    value = constant_on_scale(canvas, "lowest", np.array([bottom], np.float32), scale)
    write(canvas, "PADV2", [index, canvas.ints(amounts), value], target, "PadV2Options")
    return target, "VALID"


def pad(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    mode = bytes(attributes(node).get("mode", b"constant")).decode()
    amounts = _amounts(canvas, node)
    order = canvas.placed(node.input[0]).order
    index, target = canvas.get(node.input[0], order), canvas.put(result, order)
    if mode == "edge":
        _edge(canvas, node, amounts, index, target)
        return
    stored = canvas.ints([amounts[axis] for axis in order])
    if mode == "reflect":
        write(canvas, "MIRROR_PAD", [index, stored], target, "MirrorPadOptions", mode=canvas.words.MirrorPadMode.REFLECT)
        return
    if mode != "constant":
        raise refuse(node, f"its mode {mode} is not written")
    value = constant(canvas, node, 2)
    if value is None or not value.any():
        write(canvas, "PAD", [index, stored], target, "PadOptions")
        return
    number = constant_on_scale(canvas, f"{result}/value", value.reshape(1), canvas.scale(result))
    write(canvas, "PADV2", [index, stored, number], target, "PadV2Options")


def _amounts(canvas: Canvas, node: Any) -> list[list[int]]:
    """Added before and after, for each ONNX axis."""
    rank = len(canvas.shape(node.input[0]))
    pads = whole_numbers(canvas, node, 1, "pads") or []
    axes = [axis % rank for axis in whole_numbers(canvas, node, 3, "") or range(rank)]
    if len(pads) != 2 * len(axes):
        raise refuse(node, "its pads do not match its axes")
    if min(pads, default=0) < 0:
        raise refuse(node, "it cuts off instead of adding")
    amounts = [[0, 0] for _ in range(rank)]
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        amounts[axis] = [before, after]
    return amounts


def _edge(canvas: Canvas, node: Any, amounts: list[list[int]], index: int, target: int) -> None:
    """The border repeated: along each padded axis, what is gathered from it."""
    order = canvas.placed(node.input[0]).order
    padded_axes = [axis for axis in order if any(amounts[axis])]
    if not padded_axes:
        canvas.reshape(index, target)
    for axis in padded_axes:
        position, shape = order.index(axis), list(canvas.flat.shape(index))
        size, (before, after) = shape[position], amounts[axis]
        shape[position] = size + before + after
        last = axis == padded_axes[-1]
        made = target if last else canvas.temporary(f"{node.input[0]}/edge{axis}", shape, canvas.scale(node.input[0]))
        numbers = np.clip(np.arange(-before, size + after), 0, size - 1)
        write(canvas, "GATHER", [index, canvas.ints(numbers)], made, "GatherOptions", axis=position)
        index = made
