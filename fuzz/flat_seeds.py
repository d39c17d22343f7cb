"""TensorFlow Lite files with the operators whose readers have the most to check: slices, shapes computed at run time, recurrent layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.targets.flatbuffer import FlatModel

_LSTM: dict[str, Any] = {"fusedActivationFunction": 4}


def winding_file() -> bytes:
    """An image resized, halved, cut, read as a sequence, reshaped by its own shape, and classified with weights of float16."""
    f = FlatModel()
    image = f.tensor("x", (1, 6, 6, 3), "float32")
    small = _op(f, "RESIZE_BILINEAR", [image, _whole(f, 4, 4)], (1, 4, 4, 3), "ResizeBilinearOptions", halfPixelCenters=True)
    halves = [f.tensor(f"half{k}", (1, 4, 2, 3), "float32") for k in range(2)]
    f.operator("SPLIT", [f.constant("axis", np.int32(2).reshape(())), small], halves, "SplitOptions", {"numSplits": 2})
    gap = _op(f, "SUB", halves, (1, 4, 2, 3), "SubOptions", fusedActivationFunction=1)
    cut = [_whole(f, 0, 1, 0, 0), _whole(f, 0, 2, 0, 0), _whole(f, 1, 1, 1, 1)]
    row = _op(f, "STRIDED_SLICE", [gap, *cut], (1, 2, 3), "StridedSliceOptions", beginMask=13, endMask=13, shrinkAxisMask=2)
    sequence = _op(f, "UNIDIRECTIONAL_SEQUENCE_LSTM", _recurrent(f, row), (1, 2, 4), "UnidirectionalSequenceLSTMOptions", **_LSTM)
    shape = _op(f, "SHAPE", [sequence], (3,), "ShapeOptions", "int32", outType=2)
    first = [shape, _whole(f, 0), _whole(f, 1), _whole(f, 1)]
    batch = _op(f, "STRIDED_SLICE", first, (), "StridedSliceOptions", "int32", shrinkAxisMask=1)
    size = _op(f, "PACK", [batch, f.constant("rest", np.int32(8).reshape(()))], (2,), "PackOptions", "int32", valuesCount=2)
    flat = _op(f, "RESHAPE", [sequence, size], (1, 8))
    stored = f.constant("stored", _real(5, 8).astype(np.float16))
    weights = _op(f, "DEQUANTIZE", [stored], (5, 8), "DequantizeOptions")
    dense = _op(f, "FULLY_CONNECTED", [flat, weights, -1], (1, 5), "FullyConnectedOptions")
    total = _op(f, "MEAN", [dense, _whole(f, 1)], (1, 1), "ReducerOptions", keepDims=True)
    answer = _op(f, "SOFTMAX", [_op(f, "SUB", [dense, total], (1, 5), "SubOptions")], (1, 5), "SoftmaxOptions", beta=1.0)
    return f.finish([image], [answer])


def growing_file() -> bytes:
    """An image padded, convolved per channel, grown by a transposed convolution, moved between depth and space, gathered and joined."""
    f = FlatModel()
    image = f.tensor("x", (1, 5, 5, 2), "float32")
    amounts = f.constant("amounts", np.array([[0, 0], [1, 0], [0, 1], [0, 0]], np.int32))
    padded = _op(f, "MIRROR_PAD", [image, amounts], (1, 6, 6, 2), "MirrorPadOptions")
    options: dict[str, Any] = {
        "strideH": 1,
        "strideW": 1,
        "dilationHFactor": 1,
        "dilationWFactor": 1,
        "depthMultiplier": 2,
        "fusedActivationFunction": 3,
    }
    weights = [f.constant("kernel", _real(1, 3, 3, 4)), f.constant("bias", _real(4))]
    deep = _op(f, "DEPTHWISE_CONV_2D", [padded, *weights], (1, 6, 6, 4), "DepthwiseConv2DOptions", **options)
    spread = _op(f, "DEPTH_TO_SPACE", [deep], (1, 12, 12, 1), "DepthToSpaceOptions", blockSize=2)
    grown = [_whole(f, 1, 24, 24, 3), f.constant("up", _real(3, 2, 2, 1)), spread]
    large = _op(f, "TRANSPOSE_CONV", grown, (1, 24, 24, 3), "TransposeConvOptions", strideH=2, strideW=2)
    pool: dict[str, Any] = {"strideH": 3, "strideW": 3, "filterHeight": 4, "filterWidth": 4}
    pooled = _op(f, "AVERAGE_POOL_2D", [large], (1, 8, 8, 3), "Pool2DOptions", **pool)
    lines = _op(f, "GATHER", [pooled, _whole(f, 0, 7, 3)], (1, 3, 8, 3), "GatherOptions", axis=1)
    bent = _op(f, "PRELU", [lines, f.constant("slope", _real(1, 1, 3))], (1, 3, 8, 3))
    turned = _op(f, "TRANSPOSE", [bent, _whole(f, 0, 2, 1, 3)], (1, 8, 3, 3), "TransposeOptions")
    joined = _op(f, "CONCATENATION", [turned, turned], (1, 8, 3, 6), "ConcatenationOptions", axis=-1)
    piece = _op(f, "SLICE", [joined, _whole(f, 0, 1, 0, 2), _whole(f, 1, 4, -1, 3)], (1, 4, 3, 3), "SliceOptions")
    winner = _op(f, "ARG_MAX", [piece, _whole(f, 3)], (1, 4, 3), "ArgMaxOptions", "int32", outputType=2)
    return f.finish([image], [piece, winner])


def _op(
    f: FlatModel, code: str, inputs: list[int], shape: tuple[int, ...], options: str = "", dtype: str = "float32", **values: Any
) -> int:
    made = f.tensor(f"{code.lower()} of {inputs[0]}", shape, dtype)
    f.operator(code, inputs, made, options, values)
    return made


def _recurrent(f: FlatModel, source: int) -> list[int]:
    gates = [f.constant(f"gate{k}", _real(4, 3 if k < 4 else 4)) for k in range(8)]
    biases = [f.constant(f"bias{k}", _real(4)) for k in range(4)]
    return [source, *gates, -1, -1, -1, *biases]


def _whole(f: FlatModel, *values: int) -> int:
    return f.constant("numbers", np.array(values, np.int32))


def _real(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(0, 0.5, shape).astype(np.float32)
