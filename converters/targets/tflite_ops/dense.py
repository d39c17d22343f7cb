"""Products of matrices: dense layers with constant weights, and two tensors multiplied."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.passes.linear import LinearWeights, linear_weights
from converters.targets.tflite_canvas import Canvas, Order
from converters.targets.tflite_ops.lowering import refuse, version_of, write

_KEEPS_DIMENSIONS = 5  # the version of FULLY_CONNECTED that takes more than two dimensions as they are


def gemm(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    linear = linear_weights(node, canvas.graph.constants)
    if linear is None:
        raise refuse(node, "its weights are not constants, or alpha, beta or transA are set")
    columns = canvas.placed(node.input[0]).columns
    weight = linear.weight if linear.axis == 0 else linear.weight.T
    if columns is not None:
        weight = weight[:, columns]
    index = canvas.get(node.input[0], (0, 1))
    made = canvas.weights(result, linear, np.ascontiguousarray(weight), 0, node.input[0])
    target = canvas.put(result, (0, 1))
    write(canvas, "FULLY_CONNECTED", [index, *made], target, "FullyConnectedOptions", fusedActivationFunction=rectifier)


def matmul(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    left, right = (canvas.graph.constants.get(name) for name in node.input)
    if right is not None and right.ndim == 2:
        _layer(canvas, node.input[0], right.T, result, (-1, -2))
    elif left is not None and left.ndim == 2 and len(canvas.shape(node.input[1])) > 1:
        _layer(canvas, node.input[1], left, result, (-2, -1))
    elif left is not None or right is not None:
        raise refuse(node, "its constant side has not two dimensions")
    else:
        _product(canvas, node, result)


def _layer(canvas: Canvas, source: str, weight: Any, result: str, axes: tuple[int, int]) -> None:
    """``weight`` (outputs, inputs) on axis ``axes[0]`` of ``source``, which is to be stored last; ``axes[1]`` is that axis' partner."""
    rank = len(canvas.shape(source))
    placed, last = canvas.placed(source).order, rank + axes[0]
    order: Order = placed if placed[-1] == last else (*(axis for axis in range(rank) if axis != last), last)
    index = canvas.get(source, order)
    linear = LinearWeights(weight, np.zeros(len(weight), np.float32), 0)
    made = canvas.weights(result, linear, np.ascontiguousarray(weight), 0, source)
    version = max(version_of(canvas, "FULLY_CONNECTED"), _KEEPS_DIMENSIONS if rank != 2 else 1)
    target = canvas.put(result, order)
    write(canvas, "FULLY_CONNECTED", [index, *made], target, "FullyConnectedOptions", version=version, keepNumDims=rank != 2)


def _product(canvas: Canvas, node: Any, result: str) -> None:
    ranks = [len(canvas.shape(name)) for name in node.input]
    if min(ranks) < 2:
        raise refuse(node, "one side is a vector")
    sides = [_side(canvas, name) for name in node.input]
    indices = [_grown(canvas, name, index, max(ranks)) for name, (index, _) in zip(node.input, sides, strict=True)]
    target = canvas.put(result, tuple(range(max(ranks))))
    write(canvas, "BATCH_MATMUL", indices, target, "BatchMatMulOptions", adjX=sides[0][1], adjY=sides[1][1])


def _side(canvas: Canvas, name: str) -> tuple[int, bool]:
    """The tensor, and whether its last two dimensions are stored the other way round, which the kernel can undo."""
    rank = len(canvas.shape(name))
    plain = tuple(range(rank))
    turned = (*plain[:-2], rank - 1, rank - 2)
    adjoint = canvas.placed(name).order == turned
    return canvas.get(name, turned if adjoint else plain), adjoint


def _grown(canvas: Canvas, name: str, index: int, rank: int) -> int:
    shape = canvas.flat.shape(index)
    if len(shape) == rank:
        return index
    target = canvas.temporary(f"{name}/grown", (1,) * (rank - len(shape)) + shape, canvas.scale(name))
    canvas.reshape(index, target)
    return target
