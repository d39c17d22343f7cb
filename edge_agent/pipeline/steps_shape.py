"""Steps that move values without changing them: ``reshape``, ``transpose``, ``pad``, ``select``, ``none``. Bytes stay bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edge_agent.pipeline.arguments import Arguments
from edge_agent.pipeline.stage import MOVES, PICTURE, Stage, check_growth
from edge_agent.pipeline.steps_values import axis_of


def reshape(args: Arguments) -> Stage:
    shape = args.wholes("shape", low=-1)
    if 0 in shape or shape.count(-1) > 1:
        raise args.bad("shape", "must have sizes of 1 or more and at most one -1")
    return Stage(lambda x: x.reshape(shape), MOVES)


def transpose(args: Arguments) -> Stage:
    axes = args.wholes("axes", low=0)
    if sorted(axes) != list(range(len(axes))):
        raise args.bad("axes", f"must name each of 0 to {len(axes) - 1} once")
    return Stage(lambda x: x.transpose(axes), MOVES)


def pad(args: Arguments) -> Stage:
    before, after, value = args.wholes("before", low=0), args.wholes("after", low=0), args.narrow("value", 0.0)
    if len(before) != len(after):
        raise args.bad("before", "and after must have one size for each axis")
    widths = tuple(zip(before, after, strict=True))

    def run(x: Any) -> Any:
        if len(widths) != x.ndim:
            raise ValueError(f"padding for {len(widths)} axes")
        check_growth(math.prod(size + low + high for size, (low, high) in zip(x.shape, widths, strict=True)))
        x = holding(x, value)
        return np.pad(x, widths, constant_values=x.dtype.type(value))

    return Stage(run, PICTURE)


def select(args: Arguments) -> Stage:
    channels, axis = args.wholes("channels", low=0), axis_of(args)

    def run(x: Any) -> Any:
        check_growth(x.size * len(channels))
        return np.take(x, channels, axis=axis)

    return Stage(run, MOVES)


def none(args: Arguments) -> Stage:
    return Stage(lambda x: x, MOVES)


def holding(x: Any, value: float) -> Any:
    """``x`` itself where its element type holds ``value``, else as float32."""
    if x.dtype.kind == "f":
        return x
    limits = np.iinfo(x.dtype)
    return x if value == int(value) and limits.min <= value <= limits.max else x.astype(np.float32)
