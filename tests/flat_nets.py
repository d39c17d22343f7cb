"""Small TensorFlow Lite files made in code, an operator or an idea each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from converters.targets.flatbuffer import FlatModel

IMAGE = (1, 6, 5, 3)


class FlatNet:
    """Builds a file operator by operator; every method gives the number of the tensor it made."""

    def __init__(self, seed: int = 4) -> None:
        self.flat = FlatModel()
        self.random = np.random.default_rng(seed)
        self._inputs: list[int] = []
        self._count = 0

    def input(self, *shape: int, dtype: str = "float32") -> int:
        self._inputs.append(self.flat.tensor(f"in:{len(self._inputs)}", shape, dtype))
        return self._inputs[-1]

    def constant(self, array: Any, dtype: str = "float32", scales: Any = None, axis: int = 0) -> int:
        return self.flat.constant("constant", np.asarray(array, dtype), scales, axis)

    def numbers(self, *values: Any) -> int:
        return self.constant(values, "int32")

    def weights(self, *shape: int) -> int:
        return self.constant(self.random.normal(0, 0.5, shape))

    def op(self, code: str, inputs: Sequence[int], shape: Sequence[int], options: str = "", dtype: str = "float32", **values: Any) -> int:
        self._count += 1
        made = self.flat.tensor(f"t/{self._count}", shape, dtype)
        self.flat.operator(code, inputs, made, options, values)
        return made

    def file(self, *outputs: int) -> bytes:
        for place, index in enumerate(outputs):
            self.flat.rename(index, f"out:{place}")
        return self.flat.finish(self._inputs, outputs)


Build = Callable[[FlatNet, int], int]


def _conv(n: FlatNet, x: int, shape: Sequence[int] = (1, 6, 5, 4), **options: Any) -> int:
    values = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1, **options}
    return n.op("CONV_2D", [x, n.weights(4, 3, 3, 3), n.weights(4)], shape, "Conv2DOptions", **values)


def _depthwise(n: FlatNet, x: int) -> int:
    values = {"strideH": 2, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1, "depthMultiplier": 2, "fusedActivationFunction": 3}
    return n.op("DEPTHWISE_CONV_2D", [x, n.weights(1, 3, 3, 6), n.weights(6)], (1, 3, 5, 6), "DepthwiseConv2DOptions", **values)


def _upwards(n: FlatNet, x: int, *, padding: int, shape: tuple[int, ...]) -> int:
    inputs = [n.numbers(*shape), n.weights(4, 3, 3, 3), x, n.weights(4)]
    return n.op("TRANSPOSE_CONV", inputs, shape, "TransposeConvOptions", padding=padding, strideH=2, strideW=2)


def _pool(code: str, padding: int, shape: Sequence[int]) -> Build:
    values = {"padding": padding, "strideH": 2, "strideW": 2, "filterHeight": 3, "filterWidth": 3}
    return lambda n, x: n.op(code, [x], shape, "Pool2DOptions", **values)


def _resize(code: str, options: str, aligned: bool, centred: bool, size: tuple[int, int] = (11, 8)) -> Build:
    values = {"alignCorners": aligned, "halfPixelCenters": centred}
    return lambda n, x: n.op(code, [x, n.numbers(*size)], (1, *size, 3), options, **values)


def _dense(n: FlatNet, x: int, *, keep: bool) -> int:
    shape = (1, 6, 5, 4) if keep else (30, 4)
    return n.op("FULLY_CONNECTED", [x, n.weights(4, 3), -1], shape, "FullyConnectedOptions", keepNumDims=keep)


def _one(code: str, options: str = "", **values: Any) -> Build:
    return lambda n, x: n.op(code, [x], IMAGE, options, **values)


def _two(code: str, options: str = "", dtype: str = "float32", **values: Any) -> Build:
    def build(n: FlatNet, x: int) -> int:
        made = n.op(code, [x, n.constant(n.random.uniform(0.5, 2, (1, 1, 1, 3)))], IMAGE, options, dtype, **values)
        return made if dtype == "float32" else n.op("CAST", [made], IMAGE, "CastOptions")

    return build


def _reduce(code: str, axes: Sequence[int], keep: bool, shape: Sequence[int]) -> Build:
    return lambda n, x: n.op(code, [x, n.numbers(*axes)], shape, "ReducerOptions", keepDims=keep)


def _slice(begin: Sequence[int], end: Sequence[int], step: Sequence[int], shape: Sequence[int], **masks: int) -> Build:
    def build(n: FlatNet, x: int) -> int:
        return n.op("STRIDED_SLICE", [x, n.numbers(*begin), n.numbers(*end), n.numbers(*step)], shape, "StridedSliceOptions", **masks)

    return build


def _lstm(n: FlatNet, x: int) -> int:
    """Five steps of three values into four units; the states are variables, the peepholes and all else are absent."""
    row = n.op("SLICE", [x, n.numbers(0, 0, 0, 0), n.numbers(1, 1, 5, 3)], (1, 1, 5, 3), "SliceOptions")
    steps = n.op("RESHAPE", [row, n.numbers(1, 5, 3)], (1, 5, 3), "ReshapeOptions", newShape=[1, 5, 3])
    weights = [n.weights(4, 3) for _ in range(4)] + [n.weights(4, 4) for _ in range(4)]
    states = [n.flat.tensor(f"state{k}", (1, 4), "float32") for k in range(2)]
    for index in states:
        n.flat._tensors[index].isVariable = True
    inputs = [steps, *weights, -1, -1, -1, *[n.weights(4) for _ in range(4)], -1, -1, *states]
    options = {"fusedActivationFunction": 4, "timeMajor": False}
    return n.op("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, (1, 5, 4), "UnidirectionalSequenceLSTMOptions", **options)


def _mirror(n: FlatNet, x: int) -> int:
    return n.op("MIRROR_PAD", [x, n.constant([[0, 0], [1, 2], [0, 1], [0, 0]], "int32")], (1, 9, 6, 3), "MirrorPadOptions")


def _depth(n: FlatNet, x: int) -> int:
    even = n.op("PAD", [x, n.constant([[0, 0], [0, 0], [0, 1], [0, 0]], "int32")], (1, 6, 6, 3), "PadOptions")
    return n.op("SPACE_TO_DEPTH", [even], (1, 3, 3, 12), "SpaceToDepthOptions", blockSize=2)


def _halves(n: FlatNet, x: int) -> int:
    parts = [n.flat.tensor(f"part{k}", (1, 3, 5, 3), "float32") for k in range(2)]
    n.flat.operator("SPLIT", [n.constant(1, "int32"), x], parts, "SplitOptions", {"numSplits": 2})
    return n.op("SUB", parts, (1, 3, 5, 3), "SubOptions", fusedActivationFunction=1)


def _shape_arithmetic(n: FlatNet, x: int) -> int:
    """The exporter's way to flatten: the batch is asked for at run time."""
    shape = n.op("SHAPE", [x], (4,), "ShapeOptions", "int32", outType=2)
    cut = [n.numbers(0), n.numbers(1), n.numbers(1)]
    batch = n.op("STRIDED_SLICE", [shape, *cut], (), "StridedSliceOptions", "int32", shrinkAxisMask=1)
    whole = n.op("PACK", [batch, n.constant(90, "int32")], (2,), "PackOptions", "int32", valuesCount=2)
    return n.op("RESHAPE", [x, whole], (1, 90))


OPERATORS: Mapping[str, Build] = MappingProxyType(
    {
        "conv": _conv,
        "conv, stride": lambda n, x: _conv(n, x, (1, 3, 3, 4), strideH=2, strideW=2),
        "conv, valid": lambda n, x: _conv(n, x, (1, 4, 3, 4), padding=1, fusedActivationFunction=1),
        "conv, dilated": lambda n, x: _conv(n, x, dilationHFactor=2, dilationWFactor=2),
        "depthwise": _depthwise,
        "upwards, same": lambda n, x: _upwards(n, x, padding=0, shape=(1, 12, 10, 4)),
        "upwards, valid": lambda n, x: _upwards(n, x, padding=1, shape=(1, 13, 11, 4)),
        "average": _pool("AVERAGE_POOL_2D", 0, (1, 3, 3, 3)),
        "maximum": _pool("MAX_POOL_2D", 0, (1, 3, 3, 3)),
        "maximum, valid": _pool("MAX_POOL_2D", 1, (1, 2, 2, 3)),
        "dense, rows": lambda n, x: _dense(n, x, keep=False),
        "dense, kept": lambda n, x: _dense(n, x, keep=True),
        "bilinear": _resize("RESIZE_BILINEAR", "ResizeBilinearOptions", False, False),
        "bilinear, aligned": _resize("RESIZE_BILINEAR", "ResizeBilinearOptions", True, False),
        "bilinear, centred": _resize("RESIZE_BILINEAR", "ResizeBilinearOptions", False, True),
        "bilinear, down": _resize("RESIZE_BILINEAR", "ResizeBilinearOptions", False, True, (4, 3)),
        "nearest": _resize("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions", False, False),
        "nearest, aligned": _resize("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions", True, False),
        "nearest, centred": _resize("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions", False, True),
        "relu6": _one("RELU6"),
        "relu -1 to 1": _one("RELU_N1_TO_1"),
        "hard swish": _one("HARD_SWISH", "HardSwishOptions"),
        "leaky": _one("LEAKY_RELU", "LeakyReluOptions", alpha=0.3),
        "elu": _one("ELU"),
        "gelu": _one("GELU", "GeluOptions", approximate=False),
        "gelu, approximate": _one("GELU", "GeluOptions", approximate=True),
        "softmax": _one("SOFTMAX", "SoftmaxOptions", beta=2.0),
        "log softmax": _one("LOG_SOFTMAX", "LogSoftmaxOptions"),
        "unit length": _one("L2_NORMALIZATION", "L2NormOptions"),
        "square": _one("SQUARE", "SquareOptions"),
        "round": _one("ROUND"),
        "add": _two("ADD", "AddOptions", fusedActivationFunction=3),
        "div": _two("DIV", "DivOptions"),
        "maximum of two": _two("MAXIMUM", "MaximumMinimumOptions"),
        "floor of quotient": _two("FLOOR_DIV", "FloorDivOptions"),
        "squared difference": _two("SQUARED_DIFFERENCE", "SquaredDifferenceOptions"),
        "prelu": _two("PRELU"),
        "greater": _two("GREATER", "GreaterOptions", "bool"),
        "not equal": _two("NOT_EQUAL", "NotEqualOptions", "bool"),
        "mean": _reduce("MEAN", [1, 2], False, (1, 3)),
        "mean, kept": _reduce("MEAN", [2, 1], True, (1, 1, 1, 3)),
        "sum": _reduce("SUM", [-1], False, (1, 6, 5)),
        "largest": _reduce("REDUCE_MAX", [1], False, (1, 5, 3)),
        "winner": lambda n, x: n.op("ARG_MAX", [x, n.constant(-1, "int32")], (1, 6, 5), "ArgMaxOptions", "int32", outputType=2),
        "slice": _slice([0, 1, 0, 0], [1, 6, 5, 2], [1, 2, 1, 1], (1, 3, 5, 2)),
        "slice, backwards": _slice([0, 5, 0, 0], [1, -8, 5, 3], [1, -1, 1, 1], (1, 6, 5, 3), endMask=2),
        "slice, open": _slice([0, 2, 2, 0], [0, 0, 0, 0], [1, 1, 1, 1], (1, 4, 3, 3), endMask=15),
        "one of an axis": _slice([0, 0, 0, -1], [0, 0, 0, 0], [1, 1, 1, 1], (1, 6, 5), beginMask=7, endMask=15, shrinkAxisMask=8),
        "piece": lambda n, x: n.op("SLICE", [x, n.numbers(0, 1, 0, 1), n.numbers(1, 4, -1, 2)], (1, 4, 5, 2), "SliceOptions"),
        "pad": lambda n, x: n.op("PAD", [x, n.constant([[0, 0], [1, 2], [0, 1], [0, 0]], "int32")], (1, 9, 6, 3), "PadOptions"),
        "mirror": _mirror,
        "halves": _halves,
        "rows of": lambda n, x: n.op("GATHER", [x, n.numbers(4, 0)], (1, 2, 5, 3), "GatherOptions", axis=1),
        "tile": lambda n, x: n.op("TILE", [x, n.numbers(1, 2, 1, 1)], (1, 12, 5, 3)),
        "transpose": lambda n, x: n.op("TRANSPOSE", [x, n.numbers(0, 2, 1, 3)], (1, 5, 6, 3), "TransposeOptions"),
        "blocks": lambda n, x: n.op("DEPTH_TO_SPACE", [_conv(n, x)], (1, 12, 10, 1), "DepthToSpaceOptions", blockSize=2),
        "depth": _depth,
        "lstm": _lstm,
        "shape arithmetic": _shape_arithmetic,
    }
)
"""What each file computes of one image."""


def operator_file(name: str) -> bytes:
    net = FlatNet()
    return net.file(OPERATORS[name](net, net.input(*IMAGE)))
