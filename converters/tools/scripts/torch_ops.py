"""ONNX operators as PyTorch calls, so that a network can be trained from its file (ONNX, Operators.md). What is not here is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from converters.tools.scripts.torch_windows import average_pool, conv, conv_transpose, max_pool

Function = Callable[[dict[str, Any], Sequence[Any]], Any]


def table() -> Mapping[str, Function]:
    """Each function takes attributes and inputs (``None`` for one left out) and gives the first output."""
    import torch
    import torch.nn.functional as f

    plain: dict[str, Function] = {
        "Add": lambda a, x: x[0] + x[1],
        "Sub": lambda a, x: x[0] - x[1],
        "Mul": lambda a, x: x[0] * x[1],
        "Div": lambda a, x: x[0] / x[1] if x[0].is_floating_point() else torch.div(x[0], x[1], rounding_mode="trunc"),
        "Pow": lambda a, x: torch.pow(x[0], x[1]),
        "MatMul": lambda a, x: x[0] @ x[1],
        "Relu": lambda a, x: f.relu(x[0]),
        "LeakyRelu": lambda a, x: f.leaky_relu(x[0], a.get("alpha", 0.01)),
        "PRelu": lambda a, x: torch.where(x[0] < 0, x[0] * x[1], x[0]),
        "Elu": lambda a, x: f.elu(x[0], a.get("alpha", 1.0)),
        "Selu": lambda a, x: f.selu(x[0]),
        "Sigmoid": lambda a, x: torch.sigmoid(x[0]),
        "HardSigmoid": lambda a, x: torch.clamp(x[0] * a.get("alpha", 0.2) + a.get("beta", 0.5), 0, 1),
        "HardSwish": lambda a, x: x[0] * torch.clamp(x[0] / 6 + 0.5, 0, 1),
        "Tanh": lambda a, x: torch.tanh(x[0]),
        "Softplus": lambda a, x: f.softplus(x[0]),
        "Erf": lambda a, x: torch.erf(x[0]),
        "Gelu": lambda a, x: f.gelu(x[0], approximate=a.get("approximate", b"none").decode()),
        "Exp": lambda a, x: torch.exp(x[0]),
        "Log": lambda a, x: torch.log(x[0]),
        "Sqrt": lambda a, x: torch.sqrt(x[0]),
        "Abs": lambda a, x: torch.abs(x[0]),
        "Neg": lambda a, x: -x[0],
        "Reciprocal": lambda a, x: 1 / x[0],
        "Min": lambda a, x: torch.minimum(x[0], x[1]),
        "Max": lambda a, x: torch.maximum(x[0], x[1]),
        "Softmax": lambda a, x: torch.softmax(x[0], a.get("axis", -1)),
        "LogSoftmax": lambda a, x: torch.log_softmax(x[0], a.get("axis", -1)),
        "Concat": lambda a, x: torch.cat(list(x), a["axis"]),
        "Transpose": lambda a, x: x[0].permute(a.get("perm", list(reversed(range(x[0].dim()))))),
        "Flatten": lambda a, x: x[0].flatten(1) if a.get("axis", 1) == 1 else x[0].reshape(math.prod(x[0].shape[: a["axis"]]), -1),
        "GlobalAveragePool": lambda a, x: x[0].mean(tuple(range(2, x[0].dim())), keepdim=True),
        "GlobalMaxPool": lambda a, x: x[0].amax(tuple(range(2, x[0].dim())), keepdim=True),
        "Identity": lambda a, x: x[0],
        "Dropout": lambda a, x: x[0],
        "Shape": lambda a, x: torch.tensor(x[0].shape[a.get("start", 0) : a.get("end")], dtype=torch.int64),
        "Gather": lambda a, x: _gather(x[0], x[1], a.get("axis", 0)),
    }
    return {**plain, "Conv": conv, "ConvTranspose": conv_transpose, "MaxPool": max_pool, "AveragePool": average_pool, **_SHAPED}


def _gemm(attributes: dict[str, Any], inputs: Sequence[Any]) -> Any:
    a = inputs[0].T if attributes.get("transA", 0) else inputs[0]
    b = inputs[1].T if attributes.get("transB", 0) else inputs[1]
    made = attributes.get("alpha", 1.0) * (a @ b)
    return made if len(inputs) < 3 or inputs[2] is None else made + attributes.get("beta", 1.0) * inputs[2]


def _batch_norm(attributes: dict[str, Any], inputs: Sequence[Any]) -> Any:
    import torch.nn.functional as f

    x, scale, bias, mean, variance = inputs
    return f.batch_norm(x, mean, variance, scale, bias, training=False, eps=attributes.get("epsilon", 1e-5))


def _clip(attributes: dict[str, Any], inputs: Sequence[Any]) -> Any:
    import torch

    low = inputs[1] if len(inputs) > 1 else attributes.get("min")
    high = inputs[2] if len(inputs) > 2 else attributes.get("max")
    return inputs[0] if low is None and high is None else torch.clamp(inputs[0], *(_number(one) for one in (low, high)))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _reshape(attributes: dict[str, Any], inputs: Sequence[Any]) -> Any:
    """A first size of one was the batch when the file was written for one question at a time; here there are several."""
    x, shape = inputs[0], [int(size) for size in inputs[1]]
    if not attributes.get("allowzero", 0):
        shape = [x.shape[i] if size == 0 else size for i, size in enumerate(shape)]
    if shape and shape[0] == 1 and x.shape[0] != 1:
        shape[0] = x.shape[0]
    return x.reshape(shape)


def _squeeze(attributes: dict[str, Any], inputs: Sequence[Any]) -> Any:
    axes = _axes(attributes, inputs)
    return inputs[0].squeeze(tuple(axes)) if axes else inputs[0].squeeze()


def _unsqueeze(attributes: dict[str, Any], inputs: Sequence[Any]) -> Any:
    made = inputs[0]
    rank = made.dim() + len(_axes(attributes, inputs))
    for axis in sorted(axis % rank for axis in _axes(attributes, inputs)):
        made = made.unsqueeze(axis)
    return made


def _reduce(name: str) -> Function:
    def reduced(attributes: dict[str, Any], inputs: Sequence[Any]) -> Any:
        x = inputs[0]
        axes = _axes(attributes, inputs) or list(range(x.dim()))
        return getattr(x, name)(tuple(axes), keepdim=bool(attributes.get("keepdims", 1)))

    return reduced


def _pad(attributes: dict[str, Any], inputs: Sequence[Any]) -> Any:
    import torch.nn.functional as f

    pads = [int(size) for size in (inputs[1] if len(inputs) > 1 else attributes["pads"])]
    value = float(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else attributes.get("value", 0.0)
    mode = attributes.get("mode", b"constant").decode()
    rank = len(pads) // 2
    around = [size for axis in reversed(range(rank)) for size in (pads[axis], pads[axis + rank])]
    if mode == "constant":
        return f.pad(inputs[0], around, value=value)
    if any(around[-4:]) or mode not in ("reflect", "edge"):
        raise ValueError(f"Pad with mode {mode} over these axes cannot be trained through")
    return f.pad(inputs[0], around[:-4], mode="replicate" if mode == "edge" else mode)


def _slice(attributes: dict[str, Any], inputs: Sequence[Any]) -> Any:
    x = inputs[0]
    lists = [[int(value) for value in item] for item in inputs[1:] if item is not None]
    starts, ends = (lists[0], lists[1]) if len(lists) > 1 else (attributes["starts"], attributes["ends"])
    axes = lists[2] if len(lists) > 2 else attributes.get("axes", list(range(len(starts))))
    steps = lists[3] if len(lists) > 3 else [1] * len(starts)
    cut = [slice(None)] * x.dim()
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 1:
            raise NotImplementedError("Slice backwards")
        cut[axis] = slice(start, end, step)
    return x[tuple(cut)]


def _cast(attributes: dict[str, Any], inputs: Sequence[Any]) -> Any:
    import torch

    kinds = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 11: torch.float64}
    if attributes["to"] not in kinds:
        raise NotImplementedError(f"Cast to type {attributes['to']}")
    return inputs[0].to(kinds[attributes["to"]])


def _gather(x: Any, index: Any, axis: int) -> Any:
    if index.dim() == 0:
        return x.select(axis, int(index))
    picked = x.index_select(axis, index.reshape(-1) % x.shape[axis])
    return picked.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]) if axis >= 0 else picked


def _axes(attributes: dict[str, Any], inputs: Sequence[Any]) -> list[int]:
    given = inputs[1] if len(inputs) > 1 and inputs[1] is not None else attributes.get("axes", [])
    return [int(axis) for axis in given]


_SHAPED: Mapping[str, Function] = {
    "Gemm": _gemm,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "ReduceMean": _reduce("mean"),
    "ReduceSum": _reduce("sum"),
    "ReduceMax": _reduce("amax"),
    "Pad": _pad,
    "Slice": _slice,
    "Cast": _cast,
}
