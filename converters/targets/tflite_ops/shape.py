"""Operators that keep every value and only say otherwise how they are arranged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.model import attributes
from converters.passes.linear import linear_weights
from converters.targets.tflite_canvas import CHANNELS_LAST, Canvas, Order
from converters.targets.tflite_ops.lowering import Lower, refuse, write
from converters.targets.tflite_ops.scaling import constant_on_scale, get_on_scale, on_scale

_SAME: tuple[str, ...] = ()


def reshape(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    source = node.input[0]
    shape, wanted = canvas.shape(source), canvas.shape(result)
    order = canvas.placed(source).order
    index = canvas.get(source, order)
    plain = tuple(range(len(shape)))
    carried = carried_order(shape, order, wanted)
    columns = None
    if carried is None and wanted[:1] == shape[:1] == (1,) and len(wanted) == 2 and _only_dense_after(canvas, result):
        # The dense layer's weights are put in the stored order instead of the values in the weights' order: no transpose at run time.
        columns = np.arange(wanted[1]).reshape(shape).transpose(order).reshape(-1)
    elif carried is None:
        index = canvas.get(source, plain)
    target = canvas.put(result, carried or tuple(range(len(wanted))), columns)
    canvas.reshape(on_scale(canvas, source, index, canvas.scale(result)), target)


def carried_order(shape: Sequence[int], order: Order, wanted: Sequence[int]) -> Order | None:
    """How a tensor of ``shape`` stored in ``order`` is stored when it is seen as one of shape ``wanted`` without moving a value.

    Dimensions are matched in groups of equal product. ``None`` when a group is not stored in one piece, in its own order.
    """
    groups = _groups(shape, wanted)
    stored = [axis for axis in order if shape[axis] != 1]
    made: list[int] = []
    while stored:
        group = next((g for g in groups if g[0] and g[0][0] == stored[0]), None)
        if group is None or stored[: len(group[0])] != group[0]:
            return None
        made += group[1]
        stored = stored[len(group[0]) :]
    return _with_ones(made, wanted)


def _groups(shape: Sequence[int], wanted: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Dimensions, those of size 1 left out, of both shapes that hold the same values."""
    ours = [axis for axis, size in enumerate(shape) if size != 1]
    theirs = [axis for axis, size in enumerate(wanted) if size != 1]
    groups: list[tuple[list[int], list[int]]] = []
    while ours and theirs:
        left, right = [ours.pop(0)], [theirs.pop(0)]
        while (a := np.prod([shape[i] for i in left])) != (b := np.prod([wanted[i] for i in right])):
            if not (ours if a < b else theirs):
                return groups
            (left if a < b else right).append((ours if a < b else theirs).pop(0))
        groups.append((left, right))
    return groups


def _with_ones(made: Sequence[int], wanted: Sequence[int]) -> Order:
    """Dimensions of size 1 put between the ``made`` ones, wherever that gives an order that is common."""
    rank = len(wanted)
    for common in (CHANNELS_LAST, (0, 2, 1), tuple(range(rank))):
        if len(common) == rank and [axis for axis in common if wanted[axis] != 1] == list(made):
            return common
    result = [axis for axis in range(rank) if wanted[axis] == 1]
    return (*result, *made)


def _only_dense_after(canvas: Canvas, name: str) -> bool:
    readers = canvas.graph.consumers().get(name, [])
    dense = all(n.op_type == "Gemm" and n.input[0] == name and linear_weights(n, canvas.graph.constants) is not None for n in readers)
    return bool(readers) and dense and name not in canvas.graph.output_names()


def transpose(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    order = canvas.placed(node.input[0]).order
    axes = list(attributes(node).get("perm", reversed(range(len(order)))))
    index = on_scale(canvas, node.input[0], canvas.get(node.input[0], order), canvas.scale(result))
    canvas.view(result, index, tuple(axes.index(axis) for axis in order))


def identity(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    if any(node.output[1:]):
        raise refuse(node, "its mask is read")
    source = node.input[0]
    array = canvas.graph.constants.get(source)
    if array is not None:
        plain = tuple(range(array.ndim))
        canvas.reshape(constant_on_scale(canvas, source, array, canvas.scale(result)), canvas.put(result, plain))
        return
    order = canvas.placed(source).order
    canvas.view(result, get_on_scale(canvas, source, order, canvas.scale(result)), order)


def expand(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    """Dimensions of size 1 repeated."""
    shape, wanted = canvas.shape(node.input[0]), canvas.shape(result)
    whole = (1,) * (len(wanted) - len(shape)) + shape
    _repeated(canvas, node.input[0], result, whole, [w // s for w, s in zip(wanted, whole, strict=True)])


def tile(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    shape, wanted = canvas.shape(node.input[0]), canvas.shape(result)
    _repeated(canvas, node.input[0], result, shape, [w // s for w, s in zip(wanted, shape, strict=True)])


def _repeated(canvas: Canvas, source: str, result: str, whole: tuple[int, ...], times: list[int]) -> None:
    shape = canvas.shape(source)
    carried = carried_order(shape, canvas.placed(source).order, whole)
    index = canvas.get(source, canvas.placed(source).order if carried else tuple(range(len(shape))))
    order = carried or tuple(range(len(whole)))
    stored = [whole[axis] for axis in order]
    if list(canvas.flat.shape(index)) != stored:
        grown = canvas.temporary(f"{source}/grown", stored, canvas.scale(source), canvas.dtype(source))
        canvas.reshape(index, grown)
        index = grown
    index = on_scale(canvas, source, index, canvas.scale(result))
    target = canvas.put(result, order)
    if all(count == 1 for count in times):
        canvas.reshape(index, target)
        return
    write(canvas, "TILE", [index, canvas.ints([times[axis] for axis in order])], target)


def concat(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    """The integer kernel joins only what is on one scale."""
    orders = [canvas.placed(name).order for name in node.input if name not in canvas.graph.constants]
    if not orders:
        raise refuse(node, "all of its inputs are constants")
    order, scale = max(orders, key=orders.count), canvas.scale(result)
    indices = []
    for name in node.input:
        array = canvas.graph.constants.get(name)
        if array is None:
            indices.append(get_on_scale(canvas, name, order, scale))
        else:
            indices.append(constant_on_scale(canvas, name, array.transpose(order), scale))
    axis = order.index(int(attributes(node)["axis"]) % len(order))
    write(canvas, "CONCATENATION", indices, canvas.put(result, order), "ConcatenationOptions", axis=axis)


def depth_to_space(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    """Channels that ONNX counts column, row, depth (CRD) are put in TensorFlow Lite's order first."""
    options, source = attributes(node), node.input[0]
    block, channels = int(options["blocksize"]), canvas.shape(source)[1]
    index = on_scale(canvas, source, canvas.get(source, CHANNELS_LAST), canvas.scale(result))
    if bytes(options.get("mode", b"DCR")) == b"CRD":
        turned = np.arange(channels).reshape(-1, block * block).T.reshape(-1)
        sorted_ = canvas.temporary(f"{source}/depth", canvas.flat.shape(index), canvas.scale(result))
        write(canvas, "GATHER", [index, canvas.ints(turned)], sorted_, "GatherOptions", axis=3)
        index = sorted_
    write(canvas, "DEPTH_TO_SPACE", [index], canvas.put(result, CHANNELS_LAST), "DepthToSpaceOptions", blockSize=block)


def space_to_depth(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    index = get_on_scale(canvas, node.input[0], CHANNELS_LAST, canvas.scale(result))
    block = int(attributes(node)["blocksize"])
    write(canvas, "SPACE_TO_DEPTH", [index], canvas.put(result, CHANNELS_LAST), "SpaceToDepthOptions", blockSize=block)


def softmax(code: str, table: str) -> Lower:
    """Over the dimension that is stored last, which a transpose sees to where it must."""

    def lower(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
        order = canvas.placed(node.input[0]).order
        axis = int(attributes(node).get("axis", -1)) % len(order)
        if order[-1] != axis:
            order = (*(place for place in range(len(order)) if place != axis), axis)
        values: dict[str, Any] = {"beta": 1.0} if code == "SOFTMAX" else {}
        write(canvas, code, [canvas.get(node.input[0], order)], canvas.put(result, order), table, **values)

    return lower
