"""What the networks that try one operator each are made of: forms of operators, and blocks that real networks have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tiny_nets import IMAGE, Net

from converters.model import Graph


@dataclass(frozen=True, slots=True)
class Form:
    """``build`` makes the network of an input of ``shape``; in int8 it is to reach ``sqnr_db``."""

    build: Callable[[Net], str]
    shape: tuple[int, ...] = IMAGE
    opset: int = 17
    sqnr_db: float = 24.0

    def graph(self) -> Graph:
        net = Net(self.shape)
        return net.graph(self.build(net), self.opset)


def unary(op: str, opset: int = 17, sqnr_db: float = 24.0, positive: bool = False, **options: Any) -> Form:
    """The operator between two convolutions."""

    def build(n: Net) -> str:
        x = n.conv("x", 6, 3, pads=[1, 1, 1, 1])
        x = n.node("Add", n.node("Relu", x), n.constant(0.5)) if positive else x
        return n.conv(n.node(op, x, **options), 4, 6)

    return Form(build, opset=opset, sqnr_db=sqnr_db)


def body(after: Callable[[Net, str], str], shape: tuple[int, ...] = IMAGE, **options: Any) -> Form:
    """A convolution of six channels, then ``after``."""
    return Form(lambda n: after(n, n.conv("x", 6, shape[1], pads=[1, 1, 1, 1])), shape, **options)


def ints(n: Net, *values: int) -> str:
    return n.constant(values, "int64")


def squeeze_excite(n: Net, x: str) -> str:
    small = n.node("Relu", n.conv(n.node("GlobalAveragePool", x), 2, 6, kernel=1))
    gate = n.node("HardSigmoid", n.conv(small, 6, 2, kernel=1), alpha=1 / 6, beta=0.5)
    return n.node("Mul", x, gate)


def sppf(n: Net, x: str) -> str:
    pools = [x]
    for _ in range(3):
        pools.append(n.node("MaxPool", pools[-1], kernel_shape=[5, 5], strides=[1, 1], pads=[2, 2, 2, 2]))
    return n.conv(n.node("Concat", *pools, axis=1), 4, 24, kernel=1)


def silu(n: Net, x: str) -> str:
    return n.node("Mul", x, n.node("Sigmoid", x))


def c2f(n: Net, x: str) -> str:
    """A YOLOv8 block: split, one residual convolution, joined again."""
    left, right = n.split(silu(n, x), axis=1, parts=2)
    deep = n.node("Add", right, silu(n, n.conv(right, 3, 3, pads=[1, 1, 1, 1])))
    return n.conv(n.node("Concat", left, right, deep, axis=1), 4, 9, kernel=1)


def dfl(n: Net) -> str:
    """A YOLOv8 head: boxes as distributions over four places, then the decoding with anchors."""
    x = n.node("Reshape", n.conv("x", 18, 3, kernel=1), ints(n, 1, 18, -1))
    boxes, classes = n.split(x, axis=1, sizes=[16, 2])
    shared = n.node("Softmax", n.node("Transpose", n.node("Reshape", boxes, ints(n, 1, 4, 4, 64)), perm=[0, 2, 1, 3]), axis=1)
    places = n.node("Conv", shared, n.constant(np.arange(4.0).reshape(1, 4, 1, 1)))
    left, right = n.split(n.node("Reshape", places, ints(n, 1, 4, 64)), axis=1, parts=2)
    anchors = n.constant(n.random.uniform(0, 8, (1, 2, 64)))
    first, last = n.node("Sub", anchors, left), n.node("Add", anchors, right)
    centre = n.node("Div", n.node("Add", first, last), n.constant(2.0))
    scaled = n.node("Mul", n.node("Concat", centre, n.node("Sub", last, first), axis=1), n.constant(8.0))
    return n.node("Concat", scaled, n.node("Sigmoid", classes), axis=1)


def anchors(n: Net) -> str:
    """A YOLOv5 head."""
    x = n.node("Reshape", n.conv("x", 21, 3, kernel=1), ints(n, 1, 3, 7, 8, 8))
    x = n.node("Sigmoid", n.node("Transpose", x, perm=[0, 1, 3, 4, 2]))
    place, size, rest = n.split(x, axis=4, sizes=[2, 2, 3])
    grid = n.constant(n.random.uniform(0, 8, (1, 3, 8, 8, 2)))
    place = n.node("Mul", n.node("Add", n.node("Mul", place, n.constant(2.0)), grid), n.constant(8.0))
    size = n.node("Mul", n.node("Pow", n.node("Mul", size, n.constant(2.0)), n.constant(2.0)), grid)
    return n.node("Reshape", n.node("Concat", place, size, rest, axis=4), ints(n, 1, 192, 7))


def attention(n: Net) -> str:
    """One head over a sequence of 6 vectors of 8."""
    x = n.node("LayerNormalization", "x", n.constant(n.random.uniform(0.5, 1.5, 8)), n.constant(n.random.normal(0, 0.1, 8)), axis=-1)
    query, key, value = (n.node("Add", n.node("MatMul", x, n.weights(8, 8)), n.constant(n.random.normal(0, 0.1, 8))) for _ in range(3))
    score = n.node("MatMul", query, n.node("Transpose", key, perm=[0, 2, 1]))
    weight = n.node("Softmax", n.node("Mul", score, n.constant(8**-0.5)), axis=-1)
    return n.node("Add", "x", n.node("MatMul", n.node("MatMul", weight, value), n.weights(8, 8)))


def gelu(n: Net, x: str) -> str:
    """As exporters spell it."""
    bell = n.node("Add", n.node("Erf", n.node("Div", x, n.constant(2**0.5))), n.constant(1.0))
    return n.node("Mul", n.node("Mul", x, bell), n.constant(0.5))


def hard_swish(n: Net, x: str) -> str:
    gate = n.node("Clip", n.node("Add", x, n.constant(3.0)), n.constant(0.0), n.constant(6.0))
    return n.node("Div", n.node("Mul", x, gate), n.constant(6.0))


def batch_norm(n: Net, x: str) -> str:
    numbers = [n.constant(n.random.uniform(0.5, 1.5, 6)) for _ in range(4)]
    return n.node("BatchNormalization", n.node("Relu", x), *numbers)


def series(n: Net) -> str:
    """A convolutional network over a series of 32 readings of 3 sensors."""
    x = n.node("Relu", n.node("Conv", "x", n.weights(8, 3, 5), n.constant(n.random.normal(0, 0.1, 8)), pads=[2, 2]))
    x = n.node("MaxPool", x, kernel_shape=[2], strides=[2])
    x = n.node("Relu", n.node("Conv", x, n.weights(8, 1, 3), group=8, strides=[2], pads=[1, 1]))
    x = n.node("AveragePool", x, kernel_shape=[2], strides=[2])
    return n.dense(n.node("Flatten", x), 32, 4)


def recurrent(op: str, gates: int, direction: str = "forward", batch: int = 1, **options: Any) -> Form:
    """Five steps of four inputs, six hidden, and a dense layer on the last output."""
    turns = 2 if direction == "bidirectional" else 1

    def build(n: Net) -> str:
        weights = [n.weights(turns, gates * 6, 4), n.weights(turns, gates * 6, 6), n.constant(n.random.normal(0, 0.3, (turns, gates * 12)))]
        y, last = n.nodes(op, 2, "x", *weights, hidden_size=6, direction=direction, **options)
        whole = n.node("ReduceSum", y, ints(n, 0), keepdims=0)
        both = n.node("Add", whole, last)
        return n.dense(n.node("Reshape", both, ints(n, batch, turns * 6)), turns * 6, 3)

    return Form(build, (5, batch, 4), sqnr_db=20)


def stateful(n: Net) -> str:
    """An LSTM that starts from states that are computed, and of which all three outputs are read."""
    start = n.node("Tanh", n.node("ReduceMean", "x", axes=[0], keepdims=1))
    y, last, memory = n.nodes(
        "LSTM",
        3,
        "x",
        n.weights(1, 16, 4),
        n.weights(1, 16, 4),
        n.constant(n.random.normal(0, 0.3, (1, 32))),
        "",
        start,
        start,
        hidden_size=4,
    )
    return n.node("Concat", n.node("Squeeze", y, ints(n, 1)), last, memory, axis=0)


def logic(n: Net, x: str) -> str:
    """Channels where several conditions hold."""
    low, high = n.node("GreaterOrEqual", x, n.constant(-0.5)), n.node("LessOrEqual", x, n.constant(0.5))
    same = n.node("Equal", n.node("Floor", x), n.constant(0.0))
    holds = n.node("Or", n.node("And", low, high), n.node("Not", same))
    return n.node("Where", holds, x, n.node("Neg", x))


def upsampled(mode: str, where: str, factor: float = 2.0, **options: Any) -> Form:
    def after(n: Net, x: str) -> str:
        big = n.node("Resize", x, "", n.constant([1, 1, factor, factor]), mode=mode, coordinate_transformation_mode=where, **options)
        return n.conv(big, 3, 6)

    return body(after)


def transposed(kernel: int, **options: Any) -> Form:
    bias = options.pop("bias", True)

    def after(n: Net, x: str) -> str:
        more = [n.constant(n.random.normal(0, 0.1, 4))] if bias else []
        return n.conv(n.node("ConvTranspose", n.node("Relu", x), n.weights(6, 4, kernel, kernel), *more, **options), 3, 4)

    return body(after)


def pool(op: str, kernel: int = 3, sqnr_db: float = 24.0, **options: Any) -> Form:
    return body(lambda n, x: n.conv(n.node(op, x, kernel_shape=[kernel, kernel], **options), 4, 6, kernel=1), sqnr_db=sqnr_db)
