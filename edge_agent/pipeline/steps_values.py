"""Steps that change values: ``scale``, ``normalize``, ``clip``, ``standardise``, ``one_hot``, ``constant``.

All arithmetic is float32. What comes in is float32 or integers of at most 16 bits, which float32 holds exactly, so that the first
operation converts them on the way and no pass over the array is spent on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_agent.pipeline.arguments import Arguments
from edge_agent.pipeline.stage import ALIKE, REAL, Stage, check_growth

MAX_CLASSES = 65_536
_REAL = np.dtype(np.float32)  # the object itself: finding it by its type costs a fifth of a microsecond a call


def scale(args: Arguments) -> Stage:
    axis = axis_of(args)
    factor, offset = _Along(args.numbers("factor", 1.0), axis), _Along(args.numbers("offset", 0.0), axis)

    def run(x: Any) -> Any:
        y = np.multiply(x, factor.of(x), dtype=_REAL)
        y += offset.of(x)
        return y

    return Stage(run, _kind(factor, offset))


def normalize(args: Arguments) -> Stage:
    axis = axis_of(args)
    mean, std = _Along(args.numbers("mean", 0.0), axis), _Along(args.numbers("std", 1.0), axis)
    if not np.all(std.numbers != 0):
        raise args.bad("std", "must not be 0")

    def run(x: Any) -> Any:
        y = np.subtract(x, mean.of(x), dtype=_REAL)
        y /= std.of(x)
        return y

    return Stage(run, _kind(mean, std))


def clip(args: Arguments) -> Stage:
    low = np.float32(args.narrow("min")) if args.has("min") else np.float32(-np.inf)
    high = np.float32(args.narrow("max")) if args.has("max") else np.float32(np.inf)
    if low > high:
        raise args.bad("min", "must not be greater than max")
    return Stage(lambda x: np.clip(np.asarray(x, np.float32), low, high), ALIKE)


def standardise(args: Arguments) -> Stage:
    """Mean and deviation of this window alone, of all its values or along ``axis``; sums in float64, so that long windows keep theirs."""
    axis = axis_of(args) if args.has("axis") else None
    epsilon = args.positive("epsilon", 1e-6)

    def run(x: Any) -> Any:
        if not x.size:
            raise ValueError("there is nothing that could have a mean")
        mean = np.mean(x, axis=axis, keepdims=True, dtype=np.float64)
        centred = np.subtract(x, mean, dtype=np.float64)
        deviation = np.sqrt(np.mean(np.square(centred), axis=axis, keepdims=True))
        return np.divide(centred, np.maximum(deviation, epsilon), out=centred).astype(np.float32)

    return Stage(run, REAL)


def one_hot(args: Arguments) -> Stage:
    """A new last axis of ``classes``: 1 at the class, 0 elsewhere; a value that is no class gives only zeros."""
    classes = np.arange(args.whole("classes", low=1, high=MAX_CLASSES), dtype=np.float32)

    def run(x: Any) -> Any:
        check_growth(x.size * classes.size)
        return (np.asarray(x)[..., np.newaxis] == classes).astype(np.float32)

    return Stage(run, REAL)


def constant(args: Arguments) -> Stage:
    """These numbers, whatever the window holds: for an input such as a sampling rate."""
    value = np.array(args.numbers("value"), np.float32)
    return Stage(lambda x: value, REAL)


def axis_of(args: Arguments, default: int = -1) -> int:
    return args.whole("axis", default, low=-8)


def _kind(*numbers: _Along) -> str:
    return REAL if any(each.numbers.ndim for each in numbers) else ALIKE


class _Along:
    """One number, or a list of them so shaped that it runs along ``axis`` of an array. The shape is kept for the next window."""

    def __init__(self, numbers: Any, axis: int) -> None:
        self.numbers = numbers
        self._axis = axis
        self._shape: tuple[int, ...] = ()
        self._shaped: Any = None

    def of(self, x: Any) -> Any:
        if self.numbers.ndim == 0:
            return self.numbers
        if x.shape != self._shape:
            self._shaped = _shaped(self.numbers, x.shape, self._axis)
            self._shape = x.shape
        return self._shaped


def _shaped(numbers: Any, shape: tuple[int, ...], axis: int) -> Any:
    if numbers.size != shape[axis]:
        raise ValueError(f"a list of {numbers.size} numbers for an axis of {shape[axis]}")
    if axis in (-1, len(shape) - 1):
        # Repeated over the axis before it too: numpy is slow where the innermost run is as short as three colours.
        return np.ascontiguousarray(np.broadcast_to(numbers, shape[-2:]))
    across = [1] * len(shape)
    across[axis] = numbers.size
    return numbers.reshape(across)
