"""The last cast: an array to the shape and element type that a model's input declares, into memory that is given or new."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from edge_agent.errors import BundleError, ModelError
from edge_agent.pipeline.stage import Transform
from edge_agent.values import TensorSpec

Place = Callable[[Any, Any], Any]
"""Takes an array and where it belongs (or ``None``), and gives it there."""


def placer(spec: TensorSpec) -> Place:
    """Gives arrays whose values fit the dtype of ``spec`` that dtype and its shape, the free dimension as 1."""
    if sum(size is None for size in spec.shape) > 1:
        raise BundleError(f"input {spec.name}: has more than one free dimension; fix its shape at conversion")
    shape = tuple(1 if size is None else size for size in spec.shape)
    count = math.prod(shape)
    dtype = np.dtype(spec.dtype)

    def place(x: Any, out: Any) -> Any:
        if x.size != count:
            raise ModelError(f"input {spec.name}: the window gives {x.size} values in shape {x.shape}, the model needs {count} in {shape}")
        if out is None:
            return np.asarray(x.reshape(shape).astype(dtype, copy=False), order="C")  # ascontiguousarray would make one value a list
        if out.shape != shape:
            raise ModelError(f"input {spec.name}: the array to write into has shape {out.shape}, the model needs {shape}")
        out[...] = x.reshape(shape)
        return out

    return place


def settler(spec: TensorSpec, *, raw: bool) -> Transform:
    """A function from real values to an array that a cast to the dtype of ``spec`` cannot wrap around."""
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "b":
        return lambda x: x != 0
    if dtype.kind == "f":
        return lambda x: x
    scale = 1.0 if raw or spec.scale is None else float(spec.scale)
    zero = 0.0 if raw else float(spec.zero_point or 0)
    codes = _codes64(dtype, scale, zero) if dtype.itemsize == 8 else _codes(dtype, scale, zero)
    if scale == 1.0 and zero == 0.0:
        return lambda x: x if x.dtype == dtype else codes(x)
    return codes


def _codes(dtype: Any, scale: float, zero: float) -> Transform:
    limits = np.iinfo(dtype)
    low, high = float(limits.min), float(limits.max)

    def codes(x: Any) -> Any:
        whole = _rounded(x, scale, zero)
        lowest = np.minimum.reduce(whole, axis=None, initial=0.0)
        if lowest != lowest:  # NaN, which is the least of all
            # A missing reading becomes real 0, as numbers outside the range become its ends: integers have no NaN.
            whole[np.isnan(whole)] = zero
        return np.minimum(np.maximum(whole, low, out=whole), high, out=whole)

    return codes


def _codes64(dtype: Any, scale: float, zero: float) -> Transform:
    """float64 cannot hold the ends of 64-bit ranges; saturate by comparison before the cast would wrap around."""
    limits = np.iinfo(dtype)
    low, high = float(limits.min), float(limits.max)

    def codes(x: Any) -> Any:
        whole = _rounded(x, scale, zero)
        inside = np.clip(np.where(np.isnan(whole), zero, whole), low, high)
        over = inside >= high
        result = np.where(over, 0.0, inside).astype(dtype)
        return np.where(over, np.array(limits.max, dtype), result)

    return codes


def _rounded(x: Any, scale: float, zero: float) -> Any:
    """round(x / scale) + zero in float64, halves to even, always an array of its own."""
    whole = np.array(x, np.float64) if scale == 1.0 else np.asarray(np.divide(x, scale, dtype=np.float64))
    np.rint(whole, out=whole)
    if zero:
        np.add(whole, zero, out=whole)
    return whole
