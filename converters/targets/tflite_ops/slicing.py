"""Parts of a tensor: slices, splits, and what constant indices pick."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.model import attributes
from converters.targets.tflite_canvas import Canvas
from converters.targets.tflite_ops.lowering import refuse, whole_numbers, write
from converters.targets.tflite_ops.reduce import without
from converters.targets.tflite_ops.scaling import constant_on_scale, get_on_scale


def slices(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    source = node.input[0]
    shape, order = canvas.shape(source), canvas.placed(source).order
    begins, ends, steps = _bounds(canvas, node, shape)
    index = get_on_scale(canvas, source, order, canvas.scale(result))
    target = canvas.put(result, order)
    stored = [canvas.ints([numbers[axis] for axis in order]) for numbers in (begins, canvas.shape(result), ends, steps)]
    if set(steps) == {1}:
        write(canvas, "SLICE", [index, stored[0], stored[1]], target, "SliceOptions")
        return
    # A backward slice that takes the first value too ends in front of it, which no number says: the mask does.
    whole = sum(1 << position for position, axis in enumerate(order) if ends[axis] < 0)
    write(canvas, "STRIDED_SLICE", [index, stored[0], stored[2], stored[3]], target, "StridedSliceOptions", endMask=whole)


def _bounds(canvas: Canvas, node: Any, shape: tuple[int, ...]) -> tuple[list[int], list[int], list[int]]:
    """Begin, end and step for each ONNX axis, as Python's own slices understand ONNX's numbers."""
    starts, stops = (whole_numbers(canvas, node, i, name) for i, name in ((1, "starts"), (2, "ends")))
    if starts is None or stops is None:
        raise refuse(node, "its bounds are not constants")
    axes = whole_numbers(canvas, node, 3, "axes") or list(range(len(starts)))
    strides = whole_numbers(canvas, node, 4, "steps") or [1] * len(starts)
    begins, ends, steps = [0] * len(shape), list(shape), [1] * len(shape)
    for axis, start, stop, step in zip(axes, starts, stops, strides, strict=True):
        size = shape[axis]
        begins[axis], ends[axis], steps[axis] = slice(max(start, -size) if step < 0 else start, stop, step).indices(size)
    return begins, ends, steps


def split(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    source = node.input[0]
    order = canvas.placed(source).order
    axis = order.index(int(attributes(node).get("axis", 0)) % len(order))
    scale = canvas.scale(node.output[0])
    index = get_on_scale(canvas, source, order, scale)
    targets = []
    for number, name in enumerate(node.output):
        if not name:
            raise refuse(node, f"its part {number} has no name")
        targets.append(canvas.put(name, order))
    sizes = [canvas.flat.shape(target)[axis] for target in targets]
    if len(set(sizes)) == 1:
        write(canvas, "SPLIT", [canvas.ints(axis), index], targets, "SplitOptions", numSplits=len(targets))
    else:
        write(canvas, "SPLIT_V", [index, canvas.ints(sizes), canvas.ints(axis)], targets, "SplitVOptions", numSplits=len(targets))


def gather(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    table, numbers = (canvas.graph.constants.get(name) for name in node.input)
    axis = int(attributes(node).get("axis", 0)) % len(table.shape if table is not None else canvas.shape(node.input[0]))
    if table is not None:
        _looked_up(canvas, node, result, table, axis)
    elif numbers is not None:
        _picked(canvas, node, result, numbers, axis)
    else:
        raise refuse(node, "both its table and its indices are computed")


def _looked_up(canvas: Canvas, node: Any, result: str, table: Any, axis: int) -> None:
    """Rows of a constant table, as for embeddings. Indices count from the front: a kernel takes no negative ones."""
    name = node.input[1]
    index = canvas.get(name, tuple(range(len(canvas.shape(name)))))
    made = constant_on_scale(canvas, node.input[0], table, canvas.scale(result))
    write(canvas, "GATHER", [made, index], canvas.put(result, tuple(range(len(canvas.shape(result))))), "GatherOptions", axis=axis)


def _picked(canvas: Canvas, node: Any, result: str, numbers: Any, axis: int) -> None:
    source = node.input[0]
    shape, order = canvas.shape(source), canvas.placed(source).order
    if numbers.ndim > 1:
        order = tuple(range(len(shape)))
    index = get_on_scale(canvas, source, order, canvas.scale(result))
    left = {0: without(order, [axis]), 1: order}.get(numbers.ndim, tuple(range(len(shape) + numbers.ndim - 1)))
    picked = canvas.ints(np.where(numbers < 0, numbers + shape[axis], numbers))
    write(canvas, "GATHER", [index, picked], canvas.put(result, left), "GatherOptions", axis=order.index(axis))
