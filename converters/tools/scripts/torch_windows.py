"""ONNX operators with a sliding window, in PyTorch: convolutions and pools with every padding ONNX allows (ONNX, Operators.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def conv(attributes: dict[str, Any], inputs: Sequence[Any]) -> Any:
    import torch.nn.functional as f

    x, weight, bias = inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else None
    axes = weight.dim() - 2
    strides, dilations = _per_axis(attributes, "strides", axes), _per_axis(attributes, "dilations", axes)
    x, left = _padded(x, attributes, list(weight.shape[2:]), strides, dilations, 0.0)
    function = (f.conv1d, f.conv2d, f.conv3d)[axes - 1]
    return function(x, weight, bias, strides, left, dilations, attributes.get("group", 1))


def conv_transpose(attributes: dict[str, Any], inputs: Sequence[Any]) -> Any:
    import torch.nn.functional as f

    x, weight, bias = inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else None
    axes = weight.dim() - 2
    pads = attributes.get("pads", [0] * 2 * axes)
    if pads[:axes] != pads[axes:] or attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or "output_shape" in attributes:
        raise NotImplementedError("ConvTranspose with uneven padding")
    function = (f.conv_transpose1d, f.conv_transpose2d, f.conv_transpose3d)[axes - 1]
    extra = attributes.get("output_padding", [0] * axes)
    strides, dilations = _per_axis(attributes, "strides", axes), _per_axis(attributes, "dilations", axes)
    return function(x, weight, bias, strides, pads[:axes], extra, attributes.get("group", 1), dilations)


def max_pool(attributes: dict[str, Any], inputs: Sequence[Any]) -> Any:
    import torch.nn.functional as f

    kernel = attributes["kernel_shape"]
    strides, dilations = _per_axis(attributes, "strides", len(kernel)), _per_axis(attributes, "dilations", len(kernel))
    x, left = _padded(inputs[0], attributes, kernel, strides, dilations, -math.inf)
    function = (f.max_pool1d, f.max_pool2d, f.max_pool3d)[len(kernel) - 1]
    return function(x, kernel, strides, left, dilations, bool(attributes.get("ceil_mode", 0)))


def average_pool(attributes: dict[str, Any], inputs: Sequence[Any]) -> Any:
    """Padding does not count unless asked: the mean of what is padded, over the mean of ones padded likewise."""
    import torch
    import torch.nn.functional as f

    kernel = attributes["kernel_shape"]
    strides = _per_axis(attributes, "strides", len(kernel))
    if attributes.get("ceil_mode", 0):
        raise NotImplementedError("AveragePool with ceil_mode")
    function = (f.avg_pool1d, f.avg_pool2d, f.avg_pool3d)[len(kernel) - 1]
    ones = [1] * len(kernel)
    x, left = _padded(inputs[0], attributes, kernel, strides, ones, 0.0, always=True)
    made = function(x, kernel, strides, left)
    if attributes.get("count_include_pad", 0):
        return made
    counted, _ = _padded(torch.ones_like(inputs[0][:1, :1]), attributes, kernel, strides, ones, 0.0, always=True)
    return made / function(counted, kernel, strides, left)


def _per_axis(attributes: dict[str, Any], name: str, axes: int) -> list[int]:
    return list(attributes.get(name, [1] * axes))


def _padded(
    x: Any,
    attributes: dict[str, Any],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    value: float,
    *,
    always: bool = False,
) -> tuple[Any, list[int]]:
    """The input with uneven padding put in, and the even padding that is left to the operator."""
    import torch.nn.functional as f

    axes = len(kernel)
    before, after = _pads(x, attributes, kernel, strides, dilations)
    if before == after and not always:
        return x, before
    around = [size for axis in reversed(range(axes)) for size in (before[axis], after[axis])]
    return f.pad(x, around, value=value) if any(around) else x, [0] * axes


def _pads(
    x: Any, attributes: dict[str, Any], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]]:
    axes = len(kernel)
    word = attributes.get("auto_pad", b"NOTSET")
    if word in (b"SAME_UPPER", b"SAME_LOWER"):
        sizes = zip(x.shape[2:], kernel, strides, dilations, strict=True)
        whole = [max((-(-size // step) - 1) * step + (width - 1) * apart + 1 - size, 0) for size, width, step, apart in sizes]
        less, more = [size // 2 for size in whole], [size - size // 2 for size in whole]
        return (less, more) if word == b"SAME_UPPER" else (more, less)
    pads = list(attributes.get("pads", [0] * 2 * axes)) if word == b"NOTSET" else [0] * 2 * axes
    return pads[:axes], pads[axes:]
