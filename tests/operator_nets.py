"""One small network for each operator and form of it that TensorFlow Lite files are written from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
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


def _squeeze_excite(n: Net, x: str) -> str:
    small = n.node("Relu", n.conv(n.node("GlobalAveragePool", x), 2, 6, kernel=1))
    gate = n.node("HardSigmoid", n.conv(small, 6, 2, kernel=1), alpha=1 / 6, beta=0.5)
    return n.node("Mul", x, gate)


def _sppf(n: Net, x: str) -> str:
    pools = [x]
    for _ in range(3):
        pools.append(n.node("MaxPool", pools[-1], kernel_shape=[5, 5], strides=[1, 1], pads=[2, 2, 2, 2]))
    return n.conv(n.node("Concat", *pools, axis=1), 4, 24, kernel=1)


def _silu(n: Net, x: str) -> str:
    return n.node("Mul", x, n.node("Sigmoid", x))


def _c2f(n: Net, x: str) -> str:
    """A YOLOv8 block: split, one residual convolution, joined again."""
    left, right = n.split(_silu(n, x), axis=1, parts=2)
    deep = n.node("Add", right, _silu(n, n.conv(right, 3, 3, pads=[1, 1, 1, 1])))
    return n.conv(n.node("Concat", left, right, deep, axis=1), 4, 9, kernel=1)


def _dfl(n: Net) -> str:
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


def _anchors(n: Net) -> str:
    """A YOLOv5 head."""
    x = n.node("Reshape", n.conv("x", 21, 3, kernel=1), ints(n, 1, 3, 7, 8, 8))
    x = n.node("Sigmoid", n.node("Transpose", x, perm=[0, 1, 3, 4, 2]))
    place, size, rest = n.split(x, axis=4, sizes=[2, 2, 3])
    grid = n.constant(n.random.uniform(0, 8, (1, 3, 8, 8, 2)))
    place = n.node("Mul", n.node("Add", n.node("Mul", place, n.constant(2.0)), grid), n.constant(8.0))
    size = n.node("Mul", n.node("Pow", n.node("Mul", size, n.constant(2.0)), n.constant(2.0)), grid)
    return n.node("Reshape", n.node("Concat", place, size, rest, axis=4), ints(n, 1, 192, 7))


def _attention(n: Net) -> str:
    """One head over a sequence of 6 vectors of 8."""
    x = n.node("LayerNormalization", "x", n.constant(n.random.uniform(0.5, 1.5, 8)), n.constant(n.random.normal(0, 0.1, 8)), axis=-1)
    query, key, value = (n.node("Add", n.node("MatMul", x, n.weights(8, 8)), n.constant(n.random.normal(0, 0.1, 8))) for _ in range(3))
    score = n.node("MatMul", query, n.node("Transpose", key, perm=[0, 2, 1]))
    weight = n.node("Softmax", n.node("Mul", score, n.constant(8**-0.5)), axis=-1)
    return n.node("Add", "x", n.node("MatMul", n.node("MatMul", weight, value), n.weights(8, 8)))


def _gelu(n: Net, x: str) -> str:
    """As exporters spell it."""
    bell = n.node("Add", n.node("Erf", n.node("Div", x, n.constant(2**0.5))), n.constant(1.0))
    return n.node("Mul", n.node("Mul", x, bell), n.constant(0.5))


def _hard_swish(n: Net, x: str) -> str:
    gate = n.node("Clip", n.node("Add", x, n.constant(3.0)), n.constant(0.0), n.constant(6.0))
    return n.node("Div", n.node("Mul", x, gate), n.constant(6.0))


def _batch_norm(n: Net, x: str) -> str:
    numbers = [n.constant(n.random.uniform(0.5, 1.5, 6)) for _ in range(4)]
    return n.node("BatchNormalization", n.node("Relu", x), *numbers)


def _series(n: Net) -> str:
    """A convolutional network over a series of 32 readings of 3 sensors."""
    x = n.node("Relu", n.node("Conv", "x", n.weights(8, 3, 5), n.constant(n.random.normal(0, 0.1, 8)), pads=[2, 2]))
    x = n.node("MaxPool", x, kernel_shape=[2], strides=[2])
    x = n.node("Relu", n.node("Conv", x, n.weights(8, 1, 3), group=8, strides=[2], pads=[1, 1]))
    x = n.node("AveragePool", x, kernel_shape=[2], strides=[2])
    return n.dense(n.node("Flatten", x), 32, 4)


def _recurrent(op: str, gates: int, direction: str = "forward", batch: int = 1, **options: Any) -> Form:
    """Five steps of four inputs, six hidden, and a dense layer on the last output."""
    turns = 2 if direction == "bidirectional" else 1

    def build(n: Net) -> str:
        weights = [n.weights(turns, gates * 6, 4), n.weights(turns, gates * 6, 6), n.constant(n.random.normal(0, 0.3, (turns, gates * 12)))]
        y, last = n.nodes(op, 2, "x", *weights, hidden_size=6, direction=direction, **options)
        whole = n.node("ReduceSum", y, ints(n, 0), keepdims=0)
        both = n.node("Add", whole, last)
        return n.dense(n.node("Reshape", both, ints(n, batch, turns * 6)), turns * 6, 3)

    return Form(build, (5, batch, 4), sqnr_db=20)


def _stateful(n: Net) -> str:
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


def _logic(n: Net, x: str) -> str:
    """Channels where several conditions hold."""
    low, high = n.node("GreaterOrEqual", x, n.constant(-0.5)), n.node("LessOrEqual", x, n.constant(0.5))
    same = n.node("Equal", n.node("Floor", x), n.constant(0.0))
    holds = n.node("Or", n.node("And", low, high), n.node("Not", same))
    return n.node("Where", holds, x, n.node("Neg", x))


def _upsampled(mode: str, where: str, factor: float = 2.0, **options: Any) -> Form:
    def after(n: Net, x: str) -> str:
        big = n.node("Resize", x, "", n.constant([1, 1, factor, factor]), mode=mode, coordinate_transformation_mode=where, **options)
        return n.conv(big, 3, 6)

    return body(after)


def _transposed(kernel: int, **options: Any) -> Form:
    bias = options.pop("bias", True)

    def after(n: Net, x: str) -> str:
        more = [n.constant(n.random.normal(0, 0.1, 4))] if bias else []
        return n.conv(n.node("ConvTranspose", n.node("Relu", x), n.weights(6, 4, kernel, kernel), *more, **options), 3, 4)

    return body(after)


def _pool(op: str, kernel: int = 3, sqnr_db: float = 24.0, **options: Any) -> Form:
    return body(lambda n, x: n.conv(n.node(op, x, kernel_shape=[kernel, kernel], **options), 4, 6, kernel=1), sqnr_db=sqnr_db)


FORMS: Mapping[str, Form] = MappingProxyType(
    {
        **{op: unary(op) for op in ("Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Softplus", "Neg", "Abs")},
        **{op: unary(op) for op in ("Exp", "Identity", "Erf", "Sin", "Cos")},
        **{op: unary(op, sqnr_db=15) for op in ("Sign", "Floor", "Ceil", "Round")},
        **{op: unary(op, positive=True) for op in ("Sqrt", "Log", "Reciprocal")},
        "Gelu": unary("Gelu", 20),
        "Gelu tanh": unary("Gelu", 20, approximate="tanh"),
        "Softmax channels": unary("Softmax", axis=1),
        "Softmax rows": unary("Softmax", axis=2),
        "LogSoftmax": unary("LogSoftmax", axis=1),
        "Softsign": unary("Softsign"),
        "Mish": unary("Mish", 18),
        "HardSigmoid steep": unary("HardSigmoid", alpha=0.3, beta=0.4),
        "HardSwish spelled": body(lambda n, x: n.conv(_hard_swish(n, x), 4, 6)),
        "Gelu spelled": body(lambda n, x: n.conv(_gelu(n, x), 4, 6)),
        "BatchNormalization alone": body(lambda n, x: n.conv(_batch_norm(n, x), 4, 6)),
        "PRelu": body(lambda n, x: n.conv(n.node("PRelu", x, n.constant(n.random.uniform(0, 0.4, (6, 1, 1)))), 4, 6)),
        "Clip": body(lambda n, x: n.conv(n.node("Clip", x, n.constant(-0.4), n.constant(0.7)), 4, 6)),
        "Clip above zero": body(lambda n, x: n.node("Clip", x, n.constant(0.2), n.constant(0.7))),
        "Clip one side": body(lambda n, x: n.conv(n.node("Clip", x, "", n.constant(0.5)), 4, 6)),
        "Clip unit": body(lambda n, x: n.node("Clip", n.node("Sigmoid", x), n.constant(-1.0), n.constant(1.0))),
        "Min and Max": body(lambda n, x: n.conv(n.node("Max", n.node("Min", x, n.node("Tanh", x)), n.constant(-0.5)), 4, 6)),
        "Max of three": body(lambda n, x: n.node("Max", x, n.node("Tanh", x), n.node("Sigmoid", x))),
        "Sub turned": body(lambda n, x: n.node("Sub", n.constant(1.0), n.node("Sigmoid", x))),
        "Div": body(lambda n, x: n.node("Div", x, n.node("Add", n.node("Sigmoid", x), n.constant(1.0)))),
        "Div constant": body(lambda n, x: n.node("Div", n.node("Relu", x), n.constant(n.random.uniform(1, 2, (6, 1, 1))))),
        "Pow two": body(lambda n, x: n.conv(n.node("Pow", x, n.constant(2.0)), 4, 6)),
        "Pow half": body(lambda n, x: n.node("Pow", n.node("Relu", x), n.constant(0.5)), sqnr_db=20),
        "Pow three": body(lambda n, x: n.conv(n.node("Pow", x, n.constant(3.0)), 4, 6)),
        "Pow other": body(lambda n, x: n.node("Pow", n.node("Sigmoid", x), n.constant(1.7))),
        "Add lower rank": body(lambda n, x: n.node("Add", x, n.node("ReduceMean", x, axes=[0, 1], keepdims=0))),
        "Mul by gate": body(_squeeze_excite),
        "SiLU": body(lambda n, x: n.conv(_silu(n, x), 4, 6)),
        "SPPF": body(_sppf),
        "C2f": body(_c2f),
        "DFL": Form(_dfl),
        "anchors": Form(_anchors, sqnr_db=20),
        "attention": Form(_attention, (1, 6, 8), sqnr_db=22),
        "series": Form(_series, (1, 3, 32)),
        "grouped Conv": body(lambda n, x: n.conv(n.node("Relu", x), 9, 6, group=3)),
        "Conv one channel": Form(lambda n: n.conv("x", 4, 1), (1, 1, 8, 8)),
        "Conv SAME_LOWER": body(lambda n, x: n.conv(x, 4, 6, strides=[2, 2], auto_pad="SAME_LOWER")),
        "Conv oblong": Form(lambda n: n.conv("x", 4, 3, strides=[2, 1], pads=[0, 1, 1, 1]), (1, 3, 9, 7)),
        "ConvTranspose 2x2": _transposed(2, strides=[2, 2]),
        "ConvTranspose 4x4": _transposed(4, strides=[2, 2], pads=[1, 1, 1, 1]),
        "ConvTranspose 3x3": _transposed(3, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
        "ConvTranspose plain": _transposed(3, bias=False),
        "ConvTranspose wide": _transposed(2, strides=[3, 3], output_padding=[1, 1]),
        "Resize nearest": _upsampled("nearest", "asymmetric", nearest_mode="floor"),
        "Resize nearest half": _upsampled("nearest", "half_pixel"),
        "Resize nearest odd": _upsampled("nearest", "half_pixel", 1.5),
        "Resize linear half": _upsampled("linear", "half_pixel"),
        "Resize linear torch": _upsampled("linear", "pytorch_half_pixel"),
        "Resize linear corners": _upsampled("linear", "align_corners"),
        "Resize linear asymmetric": _upsampled("linear", "asymmetric"),
        "Resize smaller": _upsampled("linear", "half_pixel", 0.5),
        "MaxPool ceil": _pool("MaxPool", strides=[2, 2], ceil_mode=1),
        "MaxPool torch": _pool("MaxPool", strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
        "AveragePool counted": _pool("AveragePool", pads=[1, 1, 1, 1], strides=[2, 2], count_include_pad=1),
        "AveragePool uncounted": _pool("AveragePool", pads=[1, 1, 1, 1], strides=[2, 2], sqnr_db=20),
        "AveragePool same": _pool("AveragePool", strides=[1, 1], pads=[1, 1, 1, 1]),
        "AveragePool ceil": _pool("AveragePool", 2, strides=[3, 3], ceil_mode=1),
        "AveragePool lopsided": _pool("AveragePool", pads=[0, 0, 2, 2], sqnr_db=20),
        "GlobalMaxPool": body(lambda n, x: n.head(n.node("GlobalMaxPool", x), 6)),
        "ReduceMax": body(lambda n, x: n.dense(n.node("ReduceMax", x, axes=[2, 3], keepdims=0), 6, 4)),
        "ReduceMin": body(lambda n, x: n.node("ReduceMin", x, axes=[1], keepdims=1)),
        "ReduceSum": body(lambda n, x: n.node("ReduceSum", x, ints(n, 2), keepdims=0)),
        "ReduceSum all": body(lambda n, x: n.node("ReduceSum", x)),
        "ReduceProd": body(lambda n, x: n.node("ReduceProd", n.node("Sigmoid", x), axes=[1], keepdims=0), sqnr_db=15),
        "ReduceL2": body(lambda n, x: n.node("ReduceL2", x, axes=[1], keepdims=1)),
        "LayerNormalization": Form(lambda n: n.node("LayerNormalization", n.dense("x", 12, 8), n.constant(np.arange(8.0))), (1, 12)),
        "InstanceNormalization": body(
            lambda n, x: n.node("InstanceNormalization", x, n.constant(n.random.uniform(0.5, 1.5, 6)), n.constant(n.random.normal(0, 1, 6)))
        ),
        "Pad": body(lambda n, x: n.conv(n.node("Pad", x, ints(n, 0, 0, 1, 2, 0, 0, 2, 1)), 4, 6)),
        "Pad value": body(lambda n, x: n.node("Pad", x, ints(n, 0, 1, 1, 1, 0, 0, 1, 1), n.constant(0.7))),
        "Pad reflect": body(lambda n, x: n.conv(n.node("Pad", x, ints(n, 0, 0, 1, 2, 0, 0, 2, 1), mode="reflect"), 4, 6)),
        "Pad edge": body(lambda n, x: n.conv(n.node("Pad", x, ints(n, 0, 0, 1, 2, 0, 0, 2, 1), mode="edge"), 4, 6)),
        "Slice": body(lambda n, x: n.conv(n.node("Slice", x, ints(n, 1, -6), ints(n, 5, 1000), ints(n, 1, 3)), 4, 4)),
        "Slice steps": body(lambda n, x: n.node("Slice", x, ints(n, 0, 1), ints(n, 8, 8), ints(n, 2, 3), ints(n, 2, 3))),
        "Slice backwards": body(lambda n, x: n.node("Slice", x, ints(n, -1), ints(n, -1000), ints(n, 2), ints(n, -1))),
        "Focus": Form(
            lambda n: n.conv(
                n.node(
                    "Concat",
                    *(n.node("Slice", "x", ints(n, i, j), ints(n, 8, 8), ints(n, 2, 3), ints(n, 2, 2)) for i in (0, 1) for j in (0, 1)),
                    axis=1,
                ),
                4,
                12,
            )
        ),
        "Split": body(lambda n, x: n.node("Add", *n.split(x, axis=1, parts=2))),
        "Split uneven": body(lambda n, x: n.conv(n.split(x, axis=1, sizes=[2, 4])[1], 3, 4)),
        "Gather channels": body(lambda n, x: n.conv(n.node("Gather", x, ints(n, 3, 0, -1), axis=1), 4, 3)),
        "Gather one": body(lambda n, x: n.node("Gather", x, n.constant(2, "int64"), axis=2)),
        "Squeeze": body(lambda n, x: n.dense(n.node("Squeeze", n.node("GlobalAveragePool", x), ints(n, 2, 3)), 6, 4)),
        "Unsqueeze": body(lambda n, x: n.node("Unsqueeze", x, ints(n, 2))),
        "Expand": body(lambda n, x: n.node("Add", x, n.node("Expand", n.node("GlobalMaxPool", x), ints(n, 1, 6, 8, 8)))),
        "Tile": body(lambda n, x: n.conv(n.node("Tile", x, ints(n, 1, 2, 1, 2)), 4, 12)),
        "Reshape split": body(lambda n, x: n.node("Reshape", x, ints(n, 1, 2, 3, 64))),
        "Reshape mixed": body(lambda n, x: n.node("Reshape", x, ints(n, 1, 64, 6))),
        "Transpose": body(lambda n, x: n.node("Transpose", x, perm=[0, 3, 1, 2])),
        "shuffled channels": body(
            lambda n, x: n.conv(
                n.node(
                    "Reshape",
                    n.node("Transpose", n.node("Reshape", x, ints(n, 1, 2, 3, 8, 8)), perm=[0, 2, 1, 3, 4]),
                    ints(n, 1, 6, 8, 8),
                ),
                4,
                6,
            )
        ),
        "DepthToSpace": body(lambda n, x: n.node("DepthToSpace", n.conv(x, 8, 6, kernel=1), blocksize=2)),
        "DepthToSpace CRD": body(lambda n, x: n.node("DepthToSpace", n.conv(x, 8, 6, kernel=1), blocksize=2, mode="CRD")),
        "SpaceToDepth": body(lambda n, x: n.conv(n.node("SpaceToDepth", x, blocksize=2), 4, 24)),
        "Concat constant": body(lambda n, x: n.node("Concat", x, n.constant(n.random.normal(0, 1, (1, 2, 8, 8))), axis=1)),
        "MatMul deep": Form(lambda n: n.node("Relu", n.node("MatMul", "x", n.weights(8, 5))), (1, 6, 8)),
        "MatMul left": Form(lambda n: n.node("MatMul", n.weights(5, 6), n.node("Relu", "x")), (1, 6, 8)),
        "MatMul two": body(lambda n, x: n.node("MatMul", x, n.node("Transpose", n.node("Sigmoid", x), perm=[0, 1, 3, 2]))),
        "Gemm factors": Form(
            lambda n: n.node("Gemm", "x", n.weights(12, 5), n.constant(n.random.normal(0, 1, 5)), alpha=0.5, beta=2.0), (1, 12)
        ),
        "Gemm computed": Form(
            lambda n: n.node("Gemm", "x", n.node("Sigmoid", "x"), n.constant(n.random.normal(0, 1, 5)), transA=1), (5, 5)
        ),
        "LSTM": _recurrent("LSTM", 4),
        "LSTM both ways": _recurrent("LSTM", 4, "bidirectional"),
        "LSTM of two": _recurrent("LSTM", 4, "reverse", 2),
        "LSTM states": Form(_stateful, (5, 1, 4), sqnr_db=20),
        "GRU": _recurrent("GRU", 3),
        "GRU both ways": _recurrent("GRU", 3, "bidirectional"),
        "GRU torch": _recurrent("GRU", 3, "reverse", 2, linear_before_reset=1),
        "RNN": _recurrent("RNN", 1, "bidirectional"),
        "Sum": body(lambda n, x: n.node("Sum", x, n.node("Tanh", x), n.node("Sigmoid", x))),
        "ArgMax": body(lambda n, x: n.node("Cast", n.node("ArgMax", x, axis=1), to=1), sqnr_db=10),
        "ArgMin": body(lambda n, x: n.node("Cast", n.node("ArgMin", x, axis=2, keepdims=0), to=1), sqnr_db=10),
        "logic": body(_logic, sqnr_db=10),
        "Shape": body(lambda n, x: n.node("Reshape", x, n.node("Shape", n.node("Transpose", x, perm=[0, 2, 3, 1])))),
        "Where": body(lambda n, x: n.node("Where", n.node("Greater", x, n.constant(0.1)), x, n.node("Tanh", x)), sqnr_db=18),
        "Cast": body(lambda n, x: n.node("Mul", x, n.node("Cast", n.node("Less", x, n.constant(0.3)), to=1)), sqnr_db=15),
    }
)
