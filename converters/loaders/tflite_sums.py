"""Arithmetic, activations and reductions of TensorFlow Lite in ONNX's words; layout does not matter to them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from converters.loaders.tflite_file import FlatOperator, NotRead
from converters.loaders.tflite_reading import Reading, constant_of


def one(kind: str) -> Any:
    """An operator with one input that ONNX has under the name ``kind``."""

    def read(r: Reading, op: FlatOperator) -> None:
        r.give(op.outputs[0], kind, [r.value(op.inputs[0])])

    return read


def two(kind: str, after: str = "") -> Any:
    """An operator with two inputs, its fused rectifier, and ``after`` it another operator."""

    def read(r: Reading, op: FlatOperator) -> None:
        inputs = [r.value(op.inputs[0]), r.value(op.inputs[1])]
        if after:
            r.give(op.outputs[0], after, [r.add(kind, inputs, f"{r.name(op.outputs[0])}/{kind}")])
            return
        fused = hasattr(op.options, "FusedActivationFunction")
        r.give(op.outputs[0], kind, inputs, rectifier=op.option("FusedActivationFunction") if fused else 0)

    return read


def clip(low: float, high: float) -> Any:
    def read(r: Reading, op: FlatOperator) -> None:
        bounds = [r.constant(np.float32(bound), "bound") for bound in (low, high)]
        r.give(op.outputs[0], "Clip", [r.value(op.inputs[0]), *bounds])

    return read


def squared_difference(r: Reading, op: FlatOperator) -> None:
    gap = r.add("Sub", [r.value(op.inputs[0]), r.value(op.inputs[1])], f"{r.name(op.outputs[0])}/gap")
    r.give(op.outputs[0], "Mul", [gap, gap])


def square(r: Reading, op: FlatOperator) -> None:
    r.give(op.outputs[0], "Mul", [r.value(op.inputs[0])] * 2)


def rsqrt(r: Reading, op: FlatOperator) -> None:
    r.give(op.outputs[0], "Reciprocal", [r.add("Sqrt", [r.value(op.inputs[0])], f"{r.name(op.outputs[0])}/root")])


def leaky(r: Reading, op: FlatOperator) -> None:
    r.give(op.outputs[0], "LeakyRelu", [r.value(op.inputs[0])], alpha=float(op.option("Alpha")))


def prelu(r: Reading, op: FlatOperator) -> None:
    r.give(op.outputs[0], "PRelu", [r.value(op.inputs[0]), r.value(op.inputs[1])])


def gelu(r: Reading, op: FlatOperator) -> None:
    """x times the normal distribution up to x: by erf, or with ``approximate`` by tanh (Hendrycks and Gimpel 2016)."""
    x, stem = r.value(op.inputs[0]), r.name(op.outputs[0])
    if op.option("Approximate", False):
        cube = r.add("Mul", [r.add("Mul", [x, x], f"{stem}/square"), x], f"{stem}/cube")
        bent = r.add("Add", [x, r.add("Mul", [cube, r.constant(np.float32(0.044715), "factor")], f"{stem}/bend")], f"{stem}/bent")
        share = r.add(
            "Tanh", [r.add("Mul", [bent, r.constant(np.float32(np.sqrt(2 / np.pi)), "factor")], f"{stem}/scaled")], f"{stem}/share"
        )
    else:
        share = r.add("Erf", [r.add("Mul", [x, r.constant(np.float32(np.sqrt(0.5)), "factor")], f"{stem}/scaled")], f"{stem}/share")
    half = r.add("Mul", [x, r.constant(np.float32(0.5), "factor")], f"{stem}/half")
    r.give(op.outputs[0], "Mul", [half, r.add("Add", [share, r.constant(np.float32(1), "one")], f"{stem}/raised")])


def softmax(kind: str) -> Any:
    def read(r: Reading, op: FlatOperator) -> None:
        source, beta = r.value(op.inputs[0]), float(op.option("Beta", 1.0)) if kind == "Softmax" else 1.0
        if beta != 1:
            source = r.add("Mul", [source, r.constant(np.float32(beta), "beta")], f"{r.name(op.outputs[0])}/scaled")
        r.give(op.outputs[0], kind, [source], axis=-1)

    return read


def reduce(kind: str) -> Any:
    """ONNX takes the axes of a sum as an input, those of other reductions as an attribute (operator sets 13 to 17)."""

    def read(r: Reading, op: FlatOperator) -> None:
        rank = len(r.shape(op.inputs[0]))
        given = [int(axis) for axis in np.atleast_1d(constant_of(r, op, 1))]
        if any(not -rank <= axis < rank for axis in given):
            raise NotRead(f"operator {op.code} over an axis that its input does not have")
        axes, keep = sorted({axis % rank for axis in given}), int(op.option("KeepDims", False))
        source = r.value(op.inputs[0])
        if not axes:
            r.give(op.outputs[0], "Identity", [source])
        elif kind == "ReduceSum":
            r.give(op.outputs[0], kind, [source, r.numbers(axes)], keepdims=keep)
        else:
            r.give(op.outputs[0], kind, [source], axes=axes, keepdims=keep)

    return read


def winner(kind: str) -> Any:
    """The index along an axis; ONNX gives int64, the file says what it wants."""

    def read(r: Reading, op: FlatOperator) -> None:
        axis = int(np.ravel(constant_of(r, op, 1))[0])
        found = r.add(kind, [r.value(op.inputs[0])], f"{r.name(op.outputs[0])}/index", axis=axis, keepdims=0)
        _cast(r, op.outputs[0], found)

    return read


def cast(r: Reading, op: FlatOperator) -> None:
    _cast(r, op.outputs[0], r.value(op.inputs[0]))


def _cast(r: Reading, output: int, source: str) -> None:
    from onnx import helper

    kind = r.file.tensors[output].dtype
    try:
        number = int(helper.np_dtype_to_tensor_dtype(np.dtype(kind)))
    except (TypeError, KeyError):
        raise NotRead(f"a tensor of type {kind} is not read") from None
    r.give(output, "Cast", [source], to=number)


def matmul(r: Reading, op: FlatOperator) -> None:
    sides = []
    for place, flag in ((0, "AdjX"), (1, "AdjY")):
        index = op.inputs[place]
        side, rank = r.value(index), len(r.shape(index))
        if op.option(flag, False):
            perm = [*range(rank - 2), rank - 1, rank - 2]
            side = r.add("Transpose", [side], f"{r.name(index)}/turned", perm=perm)
        sides.append(side)
    r.give(op.outputs[0], "MatMul", sides)


def normalize(r: Reading, op: FlatOperator) -> None:
    """x / sqrt(max(sum of squares, 1e-6)) along the last axis (tensorflow/lite/kernels/l2norm.cc)."""
    x, stem = r.value(op.inputs[0]), r.name(op.outputs[0])
    total = r.add("ReduceSum", [r.add("Mul", [x, x], f"{stem}/square"), r.numbers([-1])], f"{stem}/sum", keepdims=1)
    length = r.add("Sqrt", [r.add("Max", [total, r.constant(np.float32(1e-6), "least")], f"{stem}/held")], f"{stem}/length")
    r.give(op.outputs[0], "Div", [x, length])


def choose(r: Reading, op: FlatOperator) -> None:
    if op.code == "SELECT" and len({r.shape(index) for index in op.inputs}) != 1:
        raise NotRead("SELECT over tensors of several shapes is not read")
    r.give(op.outputs[0], "Where", [r.value(index) for index in op.inputs])


def add_all(r: Reading, op: FlatOperator) -> None:
    r.give(op.outputs[0], "Sum", [r.value(index) for index in op.inputs])


_SAME = {"ABS": "Abs", "CEIL": "Ceil", "COS": "Cos", "ELU": "Elu", "EXP": "Exp", "FLOOR": "Floor", "HARD_SWISH": "HardSwish", "LOG": "Log"}
_SAME |= {"LOGICAL_NOT": "Not", "LOGISTIC": "Sigmoid", "NEG": "Neg", "RELU": "Relu", "ROUND": "Round", "SIGN": "Sign", "SIN": "Sin"}
_SAME |= {"SQRT": "Sqrt", "TANH": "Tanh"}
_PAIRS = {"ADD": "Add", "DIV": "Div", "EQUAL": "Equal", "GREATER": "Greater", "GREATER_EQUAL": "GreaterOrEqual", "LESS": "Less"}
_PAIRS |= {"LESS_EQUAL": "LessOrEqual", "LOGICAL_AND": "And", "LOGICAL_OR": "Or", "MAXIMUM": "Max", "MINIMUM": "Min", "MUL": "Mul"}
_PAIRS |= {"POW": "Pow", "SUB": "Sub"}
_REDUCTIONS = {"MEAN": "ReduceMean", "REDUCE_MAX": "ReduceMax", "REDUCE_MIN": "ReduceMin", "REDUCE_PROD": "ReduceProd", "SUM": "ReduceSum"}

SUMS: Mapping[str, Any] = MappingProxyType(
    {
        **{code: one(kind) for code, kind in _SAME.items()},
        **{code: two(kind) for code, kind in _PAIRS.items()},
        **{code: reduce(kind) for code, kind in _REDUCTIONS.items()},
        "ADD_N": add_all,
        "ARG_MAX": winner("ArgMax"),
        "ARG_MIN": winner("ArgMin"),
        "BATCH_MATMUL": matmul,
        "CAST": cast,
        "FLOOR_DIV": two("Div", "Floor"),
        "GELU": gelu,
        "L2_NORMALIZATION": normalize,
        "LEAKY_RELU": leaky,
        "LOG_SOFTMAX": softmax("LogSoftmax"),
        "NOT_EQUAL": two("Equal", "Not"),
        "PRELU": prelu,
        "RELU6": clip(0, 6),
        "RELU_0_TO_1": clip(0, 1),
        "RELU_N1_TO_1": clip(-1, 1),
        "RSQRT": rsqrt,
        "SELECT": choose,
        "SELECT_V2": choose,
        "SOFTMAX": softmax("Softmax"),
        "SQUARE": square,
        "SQUARED_DIFFERENCE": squared_difference,
    }
)
