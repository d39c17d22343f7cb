"""Two tensors, or a tensor and a constant, value by value."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.targets.scales import Scale
from converters.targets.tflite_canvas import Canvas, Order, only_ones_move
from converters.targets.tflite_ops.lowering import Lower, refuse, write
from converters.targets.tflite_ops.scaling import constant_on_scale, on_scale


def arithmetic(code: str, table: str) -> Lower:
    def lower(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
        order = widest_order(canvas, node)
        indices = [operand(canvas, node, name, order) for name in node.input]
        values: dict[str, Any] = {"fusedActivationFunction": rectifier} if table else {}
        write(canvas, code, indices, canvas.put(result, order), table, **values)

    return lower


def extreme(code: str) -> Lower:
    """Min or Max of any number of tensors; the integer kernel compares codes, so all are brought to the scale of the result."""

    def lower(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
        order, scale = widest_order(canvas, node), canvas.scale(result)
        indices = [operand(canvas, node, name, order, scale) for name in node.input]
        target = canvas.put(result, order)
        shape, total = canvas.flat.shape(target), indices[0]
        for count, index in enumerate(indices[1:], 2):
            made = target if count == len(indices) else canvas.temporary(f"{result}/{count}", shape, scale, canvas.dtype(result))
            write(canvas, code, [total, index], made, "MaximumMinimumOptions")
            total = made

    return lower


def total(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    """Any number of tensors added up, one after another; in integers each sum in between is on the scale of the last."""
    order = widest_order(canvas, node)
    indices = [operand(canvas, node, name, order) for name in node.input]
    target = canvas.put(result, order)
    if len(indices) == 1:
        canvas.reshape(indices[0], target)
        return
    reached = indices[0]
    for count, index in enumerate(indices[1:], 2):
        shape = canvas.flat.shape(target)
        made = target if count == len(indices) else canvas.temporary(f"{result}/{count}", shape, canvas.scale(result), canvas.dtype(result))
        write(canvas, "ADD", [reached, index], made, "AddOptions", fusedActivationFunction="NONE")
        reached = made


def power(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    order = widest_order(canvas, node)
    write(canvas, "POW", [operand(canvas, node, name, order) for name in node.input], canvas.put(result, order), "PowOptions")


def widest_order(canvas: Canvas, node: Any) -> Order:
    """The order to compute in: that of the largest tensor, so that it need not be rearranged."""
    changing = [name for name in node.input if name and name not in canvas.graph.constants]
    if not changing:
        raise refuse(node, "all of its inputs are constants")
    rank = len(canvas.shape(node.output[0]))
    largest = max(changing, key=lambda name: (len(canvas.shape(name)), np.prod(canvas.shape(name))))
    order = canvas.placed(largest).order
    return order if len(order) == rank else tuple(range(rank))


def operand(canvas: Canvas, node: Any, name: str, order: Order, scale: Scale | None = None) -> int:
    """Input ``name`` of ``node`` with as many dimensions as ``order`` has, stored so; in integers on ``scale`` where one is given."""
    array = canvas.graph.constants.get(name)
    if array is not None:
        grown = array.reshape((1,) * (len(order) - array.ndim) + array.shape).transpose(order)
        if scale is None and array.dtype.kind == "f":
            return canvas.operand(name, grown)
        return constant_on_scale(canvas, name, grown, scale)
    shape = canvas.shape(name)
    if len(shape) == len(order):
        return on_scale(canvas, name, canvas.get(name, order), scale)
    return on_scale(canvas, name, _grown(canvas, name, shape, order), scale)


def _grown(canvas: Canvas, name: str, shape: tuple[int, ...], order: Order) -> int:
    """Tensor ``name`` with ones in front of its dimensions, stored in ``order``."""
    added = len(order) - len(shape)
    whole = (1,) * added + shape
    stored = tuple(axis - added for axis in order if axis >= added)
    index = canvas.get(name, tuple(range(len(shape))) if only_ones_move(shape, stored, tuple(range(len(shape)))) else stored)
    target = canvas.temporary(f"{name}/grown", [whole[axis] for axis in order], canvas.scale(name), canvas.dtype(name))
    canvas.reshape(index, target)
    return target
