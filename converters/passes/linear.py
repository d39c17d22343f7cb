"""Weights of convolutions and dense layers, and what becomes of them when each output channel is scaled and shifted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.model import attributes

LINEAR_OPS = ("Conv", "Gemm")


@dataclass(frozen=True, slots=True, eq=False)
class LinearWeights:
    """``axis`` of ``weight`` counts output channels; ``bias`` is one number each, zeros when the node has none."""

    weight: Any
    bias: Any
    axis: int


def linear_weights(node: Any, constants: Mapping[str, Any]) -> LinearWeights | None:
    """The constant float weights of a Conv, or of a Gemm that is plainly x W + b; ``None`` when they are computed or of another form."""
    weight = constants.get(node.input[1])
    if weight is None or weight.dtype.kind != "f":
        return None
    axis = 0
    if node.op_type == "Gemm":
        options = attributes(node)
        if options.get("alpha", 1.0) != 1.0 or options.get("beta", 1.0) != 1.0 or options.get("transA", 0):
            return None
        axis = 0 if options.get("transB", 0) else 1
    channels = weight.shape[axis]
    if len(node.input) < 3 or not node.input[2]:
        return LinearWeights(weight, np.zeros(channels, weight.dtype), axis)
    bias = constants.get(node.input[2])
    if bias is None or bias.size not in (1, channels):
        return None
    return LinearWeights(weight, np.broadcast_to(bias.reshape(-1), (channels,)), axis)


def scaled(node: Any, linear: LinearWeights, factor: Any, shift: Any, stem: str) -> tuple[list[str], dict[str, Any]]:
    """New inputs for ``node``, named after ``stem``, and their arrays, so that it computes ``factor`` * old + ``shift`` by channel."""
    form = [1] * linear.weight.ndim
    form[linear.axis] = -1
    dtype = linear.weight.dtype
    weight = (linear.weight.astype(np.float64) * np.reshape(factor, form)).astype(dtype)
    bias = (linear.bias.astype(np.float64) * factor + shift).astype(dtype)
    names = [f"{stem}/weight", f"{stem}/bias"]
    return [node.input[0], *names], dict(zip(names, (weight, bias), strict=True))
