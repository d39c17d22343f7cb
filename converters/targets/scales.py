"""Affine quantization to 8 and 16 bits: real = (stored - zero_point) * scale.

Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", section 2;
symmetric per-channel weights as in the TensorFlow Lite 8-bit quantization specification.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from converters.calibrate.ranges import Range

_SMALLEST = 1e-9  # a tensor that is always zero still needs a scale
_BIAS_LIMITS = MappingProxyType({"int32": 2**31 - 1, "int64": 2**46})  # 64-bit sums are rescaled as 48-bit numbers


@dataclass(frozen=True, slots=True)
class Scale:
    """Scale and zero point of one activation tensor."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedWeights:
    """int8 values with one scale (float32) for each index of ``axis``; the zero points are 0."""

    values: Any
    scales: Any
    axis: int


def activation_scale(extent: Range, *, signed: bool, bits: int = 8) -> Scale:
    """Maps ``extent``, widened to hold zero, on all codes of ``bits``; zero itself is exact, as padding needs it to be."""
    low, high = min(extent[0], 0.0), max(extent[1], 0.0)
    last = 2**bits - 1
    scale = float(np.float32(max((high - low) / last, _SMALLEST)))
    first = -(2 ** (bits - 1)) if signed else 0
    return Scale(scale, int(np.clip(round(first - low / scale), first, first + last)))


def wide_scale(extent: Range) -> Scale:
    """Maps ``extent`` on the 16-bit codes -32767..32767 with zero in the middle, as TensorFlow Lite's 16-bit kernels want it."""
    return Scale(float(np.float32(max(abs(extent[0]), abs(extent[1]), _SMALLEST) / 32767.0)), 0)


def quantize_weights(weight: Any, axis: int, least: Any = 0.0) -> QuantizedWeights:
    """Rounds to -127..127 by output channel, with scales of at least ``least`` (one number, or one for each channel)."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scales = np.maximum(np.maximum(np.abs(weight.astype(np.float64)).max(axis=others), _SMALLEST) / 127.0, least)
    scales = scales.astype(np.float32)
    form = [1] * weight.ndim
    form[axis] = -1
    values = np.clip(np.rint(weight.astype(np.float64) / scales.astype(np.float64).reshape(form)), -127, 127)
    return QuantizedWeights(values.astype(np.int8), scales, axis)


def least_scales(bias: Any, input_scale: float) -> Any:
    """Scales of weights below which the bias of a channel would not fit in 32 bits: of channels that are dead but for their bias, as
    folding a normalization leaves them. Half of the range is left to the products."""
    return np.abs(bias.astype(np.float64)) / (np.float64(input_scale) * 2.0**30)


def quantize_bias(bias: Any, input_scale: float, weight_scales: Any, dtype: str = "int32") -> tuple[Any, Any]:
    """Values of ``dtype`` and their scales (float32), input scale times weight scale by channel, so that products and bias add up."""
    scales = (np.float64(input_scale) * weight_scales.astype(np.float64)).astype(np.float32)
    limit = _BIAS_LIMITS[dtype]
    values = np.clip(np.rint(bias.astype(np.float64) / scales.astype(np.float64)), -limit, limit)
    return values.astype(dtype), scales
