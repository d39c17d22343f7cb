"""What the networks are made of: lists of ONNX nodes and constants."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

Layers = tuple[list[Any], list[Any]]
"""Nodes and constants; the last node answers."""

HARMLESS = 1000.0


def convolutions(channels: tuple[int, ...], kernel: int, dimensions: int, classes: int, draw: np.random.Generator) -> Layers:
    """Convolutions with stride 2 and ReLU, the mean over the rest, one dense layer."""
    nodes, constants, value = [], [], "x"
    for index, (before, after) in enumerate(pairwise(channels)):
        shape = (after, before, *(kernel,) * dimensions)
        weights = draw.standard_normal(shape) * np.sqrt(2 / (before * kernel**dimensions))
        constants.append(numpy_helper.from_array(weights.astype(np.float32), f"w{index}"))
        pads, strides = [kernel // 2] * (2 * dimensions), [2] * dimensions
        nodes.append(helper.make_node("Conv", [value, f"w{index}"], [f"c{index}"], pads=pads, strides=strides))
        nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"]))
        value = f"r{index}"
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["mean"]))
    nodes.append(helper.make_node("Flatten", ["mean"], ["flat"]))
    return dense(nodes, constants, "flat", (channels[-1], classes), draw)


def dense(nodes: list[Any], constants: list[Any], value: str, widths: tuple[int, ...], draw: np.random.Generator) -> Layers:
    for index, (before, after) in enumerate(pairwise(widths)):
        weights = draw.standard_normal((before, after)).astype(np.float32) / np.float32(np.sqrt(before))
        constants.append(numpy_helper.from_array(weights, f"d{index}"))
        nodes.append(helper.make_node("MatMul", [value, f"d{index}"], [f"m{index}"]))
        value = f"m{index}"
    return nodes, constants


def growing(nodes: list[Any], constants: list[Any]) -> Layers:
    """The same answers, from a sum over as many zeros as the largest value of x exceeds 1000: 4 GB for 10^9."""
    constants.append(numpy_helper.from_array(np.array([1], np.int64), "one"))
    more = [
        *_excess(constants),
        helper.make_node("Reshape", ["count", "one"], ["counts"]),
        helper.make_node("ConstantOfShape", ["counts"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["zero"], keepdims=0),
        helper.make_node("Add", [nodes[-1].output[0], "zero"], ["sum"]),
    ]
    return [*nodes, *more], constants


def looping(nodes: list[Any], constants: list[Any]) -> Layers:
    """The same answers, after as many idle turns of a loop as the largest value of x exceeds 1000: without end for 10^18."""
    constants.append(numpy_helper.from_array(np.array(True), "true"))
    answer = [1, constants_width(constants)]
    ins = [("turn", TensorProto.INT64, []), ("go", TensorProto.BOOL, []), ("state", TensorProto.FLOAT, answer)]
    outs = [("go_out", TensorProto.BOOL, []), ("state_out", TensorProto.FLOAT, answer)]
    body = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in ("go", "state")],
        "body",
        [helper.make_tensor_value_info(*one) for one in ins],
        [helper.make_tensor_value_info(*one) for one in outs],
    )
    turning = helper.make_node("Loop", ["count", "true", nodes[-1].output[0]], ["turned"], body=body)
    return [*nodes, *_excess(constants), turning], constants


def constants_width(constants: list[Any]) -> int:
    """Columns of the last matrix among them: the classes of the answer."""
    return next(int(one.dims[1]) for one in reversed(constants) if len(one.dims) == 2)


def _excess(constants: list[Any]) -> list[Any]:
    """Nodes that make ``count``: by how much the largest value of x exceeds :data:`HARMLESS`, at least 1."""
    constants.append(numpy_helper.from_array(np.array(HARMLESS, np.float32), "harmless"))
    constants.append(numpy_helper.from_array(np.array(1.0, np.float32), "least"))
    return [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Sub", ["most", "harmless"], ["beyond"]),
        helper.make_node("Max", ["beyond", "least"], ["wanted"]),
        helper.make_node("Cast", ["wanted"], ["count"], to=TensorProto.INT64),
    ]
