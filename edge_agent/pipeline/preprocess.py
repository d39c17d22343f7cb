"""Windows to model inputs, as the manifest's ``preprocess`` steps say. The converter calibrates through this same code.

A compiled step takes a float32 array and gives one. After the last step each input gets the shape and dtype its TensorSpec declares:
quantized as round(x / scale) + zero_point where the spec has them, rounded for other integers, both clipped to the dtype's range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edge_agent.bundle.manifest import Step
from edge_agent.errors import BundleError, ModelError
from edge_agent.pipeline.arguments import Arguments
from edge_agent.values import TensorSpec

Transform = Callable[[Any], Any]
Preprocess = Callable[[Any], dict[str, Any]]

MAX_VALUES = 1 << 24
"""Values in any array between two steps."""


def compile_preprocess(steps: tuple[Step, ...], inputs: tuple[TensorSpec, ...]) -> Preprocess:
    """A function from window values (length, channels) to the model's input arrays by name, C-contiguous, in declared dtype and shape.

    The free dimension of an input becomes 1. Every step applies to every input unless its ``input`` argument names one. The result may
    share memory with the window. Raises :class:`BundleError` now for a wrong step, naming index and key; the function raises
    :class:`ModelError` when a window does not have the shape the steps and the model need.
    """
    chains: dict[str, list[tuple[str, Transform]]] = {spec.name: [] for spec in inputs}
    for index, step in enumerate(steps):
        _add(chains, step, f"preprocess[{index}]")
    plans = [(spec.name, chains[spec.name], _finisher(spec)) for spec in inputs]

    def preprocess(values: Any) -> dict[str, Any]:
        with np.errstate(all="ignore"):  # infinities and NaN are the sensor's business, not worth a warning a window
            return {name: finish(_through(chain, values)) for name, chain, finish in plans}

    return preprocess


def _add(chains: dict[str, list[tuple[str, Transform]]], step: Step, where: str) -> None:
    make = _OPS.get(step.op)
    if make is None:
        raise BundleError(f"{where}.op: {step.op!r} is not one of {', '.join(sorted(_OPS))}")
    args = Arguments(step, where)
    targets = [args.text("input")] if args.has("input") else list(chains)
    if targets[0] not in chains:
        raise args.bad("input", f"{targets[0]!r} is not an input of the model; it has {', '.join(chains)}")
    transform = make(args)
    args.done()
    for target in targets:
        chains[target].append((f"{where} ({step.op})", transform))


def _through(chain: list[tuple[str, Transform]], values: Any) -> Any:
    array = np.asarray(values, np.float32)
    for where, transform in chain:
        try:
            array = transform(array)
        except (ValueError, IndexError) as error:
            raise ModelError(f"{where}: does not fit an array of shape {array.shape} ({error})") from None
    return array


def _scale(args: Arguments) -> Transform:
    factor, offset, axis = args.numbers("factor", 1.0), args.numbers("offset", 0.0), _axis(args)
    return lambda x: x * _along(factor, x, axis) + _along(offset, x, axis)


def _normalize(args: Arguments) -> Transform:
    mean, std, axis = args.numbers("mean", 0.0), args.numbers("std", 1.0), _axis(args)
    if not np.all(std != 0):
        raise args.bad("std", "must not be 0")
    return lambda x: (x - _along(mean, x, axis)) / _along(std, x, axis)


def _clip(args: Arguments) -> Transform:
    low = np.float32(args.number("min")) if args.has("min") else np.float32(-np.inf)
    high = np.float32(args.number("max")) if args.has("max") else np.float32(np.inf)
    if low > high:
        raise args.bad("min", "must not be greater than max")
    return lambda x: np.clip(x, low, high)


def _reshape(args: Arguments) -> Transform:
    shape = args.wholes("shape", low=-1)
    if 0 in shape or shape.count(-1) > 1:
        raise args.bad("shape", "must have sizes of 1 or more and at most one -1")
    return lambda x: x.reshape(shape)


def _transpose(args: Arguments) -> Transform:
    axes = args.wholes("axes", low=0)
    if sorted(axes) != list(range(len(axes))):
        raise args.bad("axes", f"must name each of 0 to {len(axes) - 1} once")
    return lambda x: x.transpose(axes)


def _pad(args: Arguments) -> Transform:
    before, after, value = args.wholes("before", low=0), args.wholes("after", low=0), args.number("value", 0.0)
    if len(before) != len(after):
        raise args.bad("before", "and after must have one size for each axis")
    widths = tuple(zip(before, after, strict=True))

    def pad(x: Any) -> Any:
        if len(widths) != x.ndim:
            raise ValueError(f"padding for {len(widths)} axes")
        _check_growth(math.prod(size + low + high for size, (low, high) in zip(x.shape, widths, strict=True)))
        return np.pad(x, widths, constant_values=np.float32(value))

    return pad


def _select(args: Arguments) -> Transform:
    channels, axis = args.wholes("channels", low=0), _axis(args)

    def select(x: Any) -> Any:
        _check_growth(x.size * len(channels))
        return np.take(x, channels, axis=axis)

    return select


def _check_growth(count: int) -> None:
    """Before a step that can make an array larger: a manifest must not be able to exhaust the memory of the device."""
    if count > MAX_VALUES:
        raise ValueError(f"would give {count} values, at most {MAX_VALUES} are allowed")


def _none(args: Arguments) -> Transform:
    return lambda x: x


_OPS: Mapping[str, Callable[[Arguments], Transform]] = {
    "scale": _scale,
    "normalize": _normalize,
    "clip": _clip,
    "reshape": _reshape,
    "transpose": _transpose,
    "pad": _pad,
    "select": _select,
    "none": _none,
}

PREPROCESS_OPS = tuple(_OPS)
"""The words a manifest may use."""


def _axis(args: Arguments) -> int:
    return args.whole("axis", -1, low=-8)


def _along(numbers: Any, x: Any, axis: int) -> Any:
    """``numbers`` so shaped that a list of them runs along ``axis`` of ``x``."""
    if numbers.ndim == 0:
        return numbers
    if numbers.size != x.shape[axis]:
        raise ValueError(f"a list of {numbers.size} numbers for an axis of {x.shape[axis]}")
    shape = [1] * x.ndim
    shape[axis] = numbers.size
    return numbers.reshape(shape)


def _finisher(spec: TensorSpec) -> Transform:
    """Gives an array the shape and dtype of ``spec``."""
    if sum(size is None for size in spec.shape) > 1:
        raise BundleError(f"input {spec.name}: has more than one free dimension; fix its shape at conversion")
    shape = tuple(1 if size is None else size for size in spec.shape)
    count = int(np.prod(shape, dtype=np.int64))
    cast = _cast(spec)

    def finish(x: Any) -> Any:
        if x.size != count:
            raise ModelError(f"input {spec.name}: the window gives {x.size} values in shape {x.shape}, the model needs {count} in {shape}")
        return np.asarray(cast(x.reshape(shape)), order="C")  # ascontiguousarray would make a single value a list of one

    return finish


def _cast(spec: TensorSpec) -> Transform:
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "b":
        return lambda x: x != 0
    if dtype.kind == "f":
        return lambda x: x.astype(dtype, copy=False)
    scale = np.float64(1.0 if spec.scale is None else spec.scale)
    zero = np.float64(spec.zero_point or 0)
    limits = np.iinfo(dtype)

    def quantize(x: Any) -> Any:
        whole = np.rint(x / scale) + zero
        # A missing reading (NaN) becomes real 0, as numbers outside the range become its ends: integers have no NaN.
        whole = np.where(np.isnan(whole), zero, whole)
        return _to_integer(whole, dtype, limits)

    return quantize


def _to_integer(whole: Any, dtype: Any, limits: Any) -> Any:
    # float64 cannot hold the ends of 64-bit ranges; saturate by comparison before the cast would wrap around.
    low, high = float(limits.min), float(limits.max)
    inside = np.clip(whole, low, high)
    over = inside >= high
    result = np.where(over, 0.0, inside).astype(dtype)
    return np.where(over, np.array(limits.max, dtype), result)
