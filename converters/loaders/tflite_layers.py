"""Layers with weights, and windows over images: TensorFlow Lite's form of them into ONNX's.

TensorFlow Lite stores convolution weights as (out, height, width, in), depthwise ones as (1, height, width, in * multiplier) and dense
ones as (out, in) (tensorflow/lite/core/c/builtin_op_data.h and the kernels).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from converters.loaders.tflite_file import FlatOperator, NotRead
from converters.loaders.tflite_reading import Reading, constant_of

SAME = 0  # Padding.SAME of schema.fbs


def conv(r: Reading, op: FlatOperator) -> None:
    weight = _kernel(r, op)
    channels = r.shape(op.inputs[0])[-1]
    if not weight.shape[3] or channels % weight.shape[3]:
        raise NotRead("a convolution's weights do not fit its input")
    _convolve(r, op, weight.transpose(0, 3, 1, 2), channels // weight.shape[3])


def depthwise(r: Reading, op: FlatOperator) -> None:
    weight = _kernel(r, op)
    _convolve(r, op, weight.transpose(3, 0, 1, 2), r.shape(op.inputs[0])[-1])


def _kernel(r: Reading, op: FlatOperator) -> Any:
    weight = constant_of(r, op, 1)
    if weight.ndim != 4 or len(r.shape(op.inputs[0])) != 4 or weight.dtype != np.float32:
        raise NotRead(f"operator {op.code}: its weights are not a float kernel over two axes")
    return weight


def _convolve(r: Reading, op: FlatOperator, weight: Any, group: int) -> None:
    strides = (op.option("StrideH"), op.option("StrideW"))
    dilations = (op.option("DilationHFactor"), op.option("DilationWFactor"))
    source, output = op.inputs[0], op.outputs[0]
    pads = _pads(op, r.shape(source)[1:3], r.shape(output)[1:3], weight.shape[2:], strides, dilations)
    inputs = [r.channels_first(source), _stored(r, op, weight), *_bias(r, op, 2)]
    options = {"strides": strides, "dilations": dilations, "pads": pads, "group": group, "kernel_shape": weight.shape[2:]}
    r.give(output, "Conv", inputs, rectifier=op.option("FusedActivationFunction"), turned=True, **options)


def transpose_conv(r: Reading, op: FlatOperator) -> None:
    """Inputs: output shape, weights, image, bias. ONNX wants (in, out, height, width), and padding as what is cut off the result."""
    weight = constant_of(r, op, 1)
    source, output = op.inputs[2], op.outputs[0]
    if weight.ndim != 4 or len(r.shape(source)) != 4 or len(r.shape(output)) != 4:
        raise NotRead("a transposed convolution that is not over two axes")
    strides = (op.option("StrideH"), op.option("StrideW"))
    reach = [(i - 1) * s + k for i, s, k in zip(r.shape(source)[1:3], strides, weight.shape[1:3], strict=True)]
    cut = [max(whole - o, 0) for whole, o in zip(reach, r.shape(output)[1:3], strict=True)]
    more = [max(o - whole, 0) for whole, o in zip(reach, r.shape(output)[1:3], strict=True)]
    before = [total // 2 if op.option("Padding") == SAME else 0 for total in cut]
    pads = [*before, *(total - b for total, b in zip(cut, before, strict=True))]
    inputs = [r.channels_first(source), _stored(r, op, weight.transpose(3, 0, 1, 2)), *_bias(r, op, 3)]
    options = {"strides": strides, "pads": pads, "output_padding": more, "kernel_shape": weight.shape[1:3]}
    r.give(output, "ConvTranspose", inputs, rectifier=op.option("FusedActivationFunction", 0), turned=True, **options)


def dense(r: Reading, op: FlatOperator) -> None:
    """FULLY_CONNECTED takes any rank: leading dimensions are rows."""
    if op.option("WeightsFormat"):
        raise NotRead("a dense layer with shuffled weights is not read")
    source, output = op.inputs[0], op.outputs[0]
    weight, rank = r.array(op.inputs[1]), len(r.shape(source))
    columns = r.shape(op.inputs[1])[-1] if len(r.shape(op.inputs[1])) == 2 else 0
    if not columns or (weight is not None and weight.dtype != np.float32):
        raise NotRead("a dense layer without a float matrix of weights")
    flat = rank == 2 and r.shape(source)[1] == columns
    rows = r.value(source) if flat else r.add("Reshape", [r.value(source), r.numbers([-1, columns])], f"{r.name(source)}/rows")
    inputs = [rows, r.value(op.inputs[1]), *_bias(r, op, 2)]
    rectifier = op.option("FusedActivationFunction")
    if len(r.shape(output)) == 2:
        r.give(output, "Gemm", inputs, rectifier=rectifier, transB=1)
        return
    product = r.add("Gemm", inputs, f"{r.name(output)}/rows", transB=1)
    r.give(output, "Reshape", [product, r.numbers(r.shape(output))], rectifier=rectifier)


def pool(kind: str, extra: Mapping[str, int]) -> Any:
    """TensorFlow Lite never counts padding in an average."""

    def read(r: Reading, op: FlatOperator) -> None:
        source, output = op.inputs[0], op.outputs[0]
        strides, kernel = (op.option("StrideH"), op.option("StrideW")), (op.option("FilterHeight"), op.option("FilterWidth"))
        if len(r.shape(source)) != 4 or len(r.shape(output)) != 4:
            raise NotRead(f"operator {op.code} over something that is no image")
        pads = _pads(op, r.shape(source)[1:3], r.shape(output)[1:3], kernel, strides, (1, 1))
        options = {"kernel_shape": kernel, "strides": strides, "pads": pads, **extra}
        r.give(output, kind, [r.channels_first(source)], rectifier=op.option("FusedActivationFunction"), turned=True, **options)

    return read


def resize(mode: str) -> Any:
    """Where a result is taken from (resize_bilinear.h, resize_nearest_neighbor.h): ONNX's names for the same coordinates."""

    def read(r: Reading, op: FlatOperator) -> None:
        source, output = op.inputs[0], op.outputs[0]
        aligned, centred = op.option("AlignCorners"), op.option("HalfPixelCenters")
        where = "align_corners" if aligned else "half_pixel" if centred else "asymmetric"
        rounding = "round_prefer_ceil" if aligned or centred else "floor"
        size = r.shape(output)
        if len(size) != 4:
            raise NotRead(f"operator {op.code} over something that is no image")
        inputs = [r.channels_first(source), "", "", r.numbers([size[0], size[3], size[1], size[2]])]
        options: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": where}
        if mode == "nearest":
            options["nearest_mode"] = rounding
        r.give(output, "Resize", inputs, turned=True, **options)

    return read


def blocks(kind: str, more: Mapping[str, Any]) -> Any:
    def read(r: Reading, op: FlatOperator) -> None:
        r.give(op.outputs[0], kind, [r.channels_first(op.inputs[0])], turned=True, blocksize=op.option("BlockSize"), **more)

    return read


def _pads(
    op: FlatOperator,
    size_in: Sequence[int],
    size_out: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[int]:
    """SAME as numbers: half of what is missing in front, rounded down (tensorflow/lite/kernels/padding.h)."""
    if op.option("Padding") != SAME:
        return [0, 0, 0, 0]
    if any(stride < 1 or o != -(-i // stride) for i, o, stride in zip(size_in, size_out, strides, strict=True)):
        raise NotRead(f"the file is damaged (the output of operator {op.code} is not as large as its strides make it)")
    sizes = zip(size_in, size_out, kernel, strides, dilations, strict=True)
    missing = [max((o - 1) * s + (k - 1) * d + 1 - i, 0) for i, o, k, s, d in sizes]
    return [total // 2 for total in missing] + [total - total // 2 for total in missing]


def _stored(r: Reading, op: FlatOperator, weight: Any) -> str:
    return r.constant(np.ascontiguousarray(weight), f"{r.name(op.outputs[0])}/weight")


def _bias(r: Reading, op: FlatOperator, place: int) -> list[str]:
    return [r.value(op.inputs[place])] if len(op.inputs) > place and op.inputs[place] >= 0 else []


LAYERS: Mapping[str, Any] = MappingProxyType(
    {
        "AVERAGE_POOL_2D": pool("AveragePool", {"count_include_pad": 0}),
        "CONV_2D": conv,
        "DEPTHWISE_CONV_2D": depthwise,
        "DEPTH_TO_SPACE": blocks("DepthToSpace", {"mode": "DCR"}),
        "FULLY_CONNECTED": dense,
        "MAX_POOL_2D": pool("MaxPool", {}),
        "RESIZE_BILINEAR": resize("linear"),
        "RESIZE_NEAREST_NEIGHBOR": resize("nearest"),
        "SPACE_TO_DEPTH": blocks("SpaceToDepth", {}),
        "TRANSPOSE_CONV": transpose_conv,
    }
)
