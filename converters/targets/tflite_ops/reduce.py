"""Sums, means and extremes along axes."""

from __future__ import annotations

from typing import Any

from converters.model import attributes
from converters.targets.tflite_canvas import Canvas, Order
from converters.targets.tflite_ops.lowering import Lower, refuse, whole_numbers, write


def reduce(code: str) -> Lower:
    def lower(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
        source = node.input[0]
        axes, keep = _axes(canvas, node)
        order = canvas.placed(source).order
        index = canvas.get(source, order)
        target = canvas.put(result, order if keep else without(order, axes))
        stored = canvas.ints(sorted(order.index(axis) for axis in axes))
        write(canvas, code, [index, stored], target, "ReducerOptions", keepDims=keep)

    return lower


def _axes(canvas: Canvas, node: Any) -> tuple[list[int], bool]:
    rank = len(canvas.shape(node.input[0]))
    if node.op_type.startswith("Global"):
        return list(range(2, rank)), True
    options = attributes(node)
    axes = whole_numbers(canvas, node, 1, "axes")
    if not axes:
        if options.get("noop_with_empty_axes", 0):
            raise refuse(node, "it reduces nothing")
        axes = list(range(rank))
    return [axis % rank for axis in axes], bool(options.get("keepdims", 1))


def without(order: Order, axes: list[int]) -> Order:
    """``order`` of what is left when ``axes`` are dropped and the others count on without them."""
    kept = [axis for axis in order if axis not in axes]
    return tuple(sorted(kept).index(axis) for axis in kept)


def arg(code: str, table: str) -> Lower:
    """The place of an extreme; the first one where there are more."""

    def lower(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
        options, source = attributes(node), node.input[0]
        if options.get("select_last_index", 0):
            raise refuse(node, "it takes the last of equal ones")
        axis = int(options.get("axis", 0)) % len(canvas.shape(source))
        order = canvas.placed(source).order
        index = canvas.get(source, order)
        left = without(order, [axis])
        target = canvas.put(result, order if options.get("keepdims", 1) else left)
        word = canvas.words.TensorType.INT64
        shape = [size for place, size in zip(order, canvas.flat.shape(index), strict=True) if place != axis]
        found = canvas.temporary(f"{result}/place", shape, None, "int64") if options.get("keepdims", 1) else target
        write(canvas, code, [index, canvas.ints(order.index(axis))], found, table, outputType=word)
        if found != target:
            canvas.reshape(found, target)

    return lower
