"""Scaler and Normalizer (ONNX, ai.onnx.ml version 1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.model import attributes
from converters.passes.lower_ml_writer import Writer

_NORMS = {b"MAX": "ReduceMax", b"L1": "ReduceL1", b"L2": "ReduceL2"}


def scaler(writer: Writer, node: Any) -> bool:
    """(x - offset) * scale, by column."""
    source, result, options = node.input[0], node.output[0], attributes(node)
    offset, scale = (np.asarray(options.get(key, (default,)), np.float32) for key, default in (("offset", 0.0), ("scale", 1.0)))
    if not writer.can_be_float(source) or not _fits(writer, source, offset, scale):
        return False
    value = writer.as_float(source, result)
    if np.any(offset):
        value = writer.node("Sub", [value, writer.constant(f"{result}/offset", offset)], f"{result}/shifted")
    writer.node("Mul", [value, writer.constant(f"{result}/scale", scale)], result)
    return True


def _fits(writer: Writer, source: str, *arrays: Any) -> bool:
    width = writer.width(source)
    return all(array.size == 1 or array.size == width for array in arrays)


def normalizer(writer: Writer, node: Any) -> bool:
    """Each row divided by its largest, its sum of magnitudes or its length. A row of zeros stays one."""
    source, result = node.input[0], node.output[0]
    norm = _NORMS.get(attributes(node).get("norm", b"MAX"))
    if norm is None or norm == "ReduceMax" or not writer.can_be_float(source) or writer.rank(source) != 2:
        return False
    if norm == "ReduceL1" and _sums_to_one(writer, source):
        writer.node("Identity", [source], result)
        return True
    if writer.opset >= 18:
        axes = [writer.constant(f"{result}/axis", [1], "int64")]
        size = writer.node(norm, [writer.as_float(source, result), *axes], f"{result}/norm", keepdims=1)
    else:
        size = writer.node(norm, [writer.as_float(source, result)], f"{result}/norm", axes=[1], keepdims=1)
    value = f"{result}/float" if writer.dtype(source) != "float32" else source
    least = writer.constant(f"{result}/least", np.finfo(np.float32).tiny)
    writer.node("Div", [value, writer.node("Max", [size, least], f"{result}/divisor")], result)
    return True


def _sums_to_one(writer: Writer, source: str) -> bool:
    """Rows that are shares already: a softmax, or the logistic function of a number and of its opposite (two classes)."""
    before = writer.producer(source)
    if before is None or before.op_type == "Softmax":
        return before is not None and attributes(before).get("axis", -1) in (1, -1)
    dense = writer.producer(before.input[0]) if before.op_type == "Sigmoid" else None
    if dense is None or dense.op_type != "Gemm" or len(dense.input) != 3 or not attributes(dense).get("transB", 0):
        return False
    weight, bias = writer.held(dense.input[1]), writer.held(dense.input[2])
    if weight is None or bias is None or len(weight) != 2 or bias.size != 2:
        return False
    return bool(np.array_equal(weight[0], -weight[1]) and np.array_equal(bias.reshape(-1)[0], -bias.reshape(-1)[1]))
