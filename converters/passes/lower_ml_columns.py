"""Operators of ai.onnx.ml that choose, join, fill in or renumber columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import TensorProto

from converters.model import attributes
from converters.passes.lower_ml_writer import Writer


def array_feature_extractor(writer: Writer, node: Any) -> bool:
    """Constant columns of a matrix, or the entries of a constant row that are asked for (the labels of the largest scores)."""
    source, result = node.input[0], node.output[0]
    row, columns = writer.held(source), writer.held(node.input[1])
    if row is not None and row.dtype.kind in "if" and row.ndim == 1 and writer.rank(node.input[1]) == 1:
        writer.node("Gather", [writer.constant(f"{result}/row", row.reshape(1, -1), str(row.dtype)), node.input[1]], result, axis=1)
        return True
    if columns is None or writer.rank(source) != 2:
        return False
    writer.node("Gather", [source, writer.constant(f"{result}/columns", columns.reshape(-1), "int64")], result, axis=1)
    return True


def feature_vectorizer(writer: Writer, node: Any) -> bool:
    """Matrices side by side, as float32. ``inputdimensions`` must be their widths: otherwise columns are cut or filled."""
    result, names = node.output[0], list(node.input)
    told = list(attributes(node).get("inputdimensions", ()))
    widths = [writer.width(name) for name in names]
    if None in widths or (told and told != widths) or any(writer.rank(n) != 2 or not writer.can_be_float(n) for n in names):
        return False
    parts = [writer.as_float(name, f"{result}/{i}") for i, name in enumerate(names)]
    writer.node("Concat", parts, result, axis=1)
    return True


def binarizer(writer: Writer, node: Any) -> bool:
    """1 above the threshold, 0 else."""
    source, result = node.input[0], node.output[0]
    if writer.dtype(source) != "float32":
        return False
    limit = writer.constant(f"{result}/threshold", attributes(node).get("threshold", 0.0))
    above = writer.node("Greater", [source, limit], f"{result}/above")
    writer.node("Cast", [above], result, to=TensorProto.FLOAT)
    return True


def imputer(writer: Writer, node: Any) -> bool:
    """A number for each column that stands in for a missing value."""
    source, result, options = node.input[0], node.output[0], attributes(node)
    values = np.asarray(options.get("imputed_value_floats", ()), np.float32)
    if writer.dtype(source) != "float32" or values.size not in (1, writer.width(source)):
        return False
    missing = float(options.get("replaced_value_float", 0.0))
    if math.isnan(missing):
        found = writer.node("IsNaN", [source], f"{result}/missing")
    else:
        found = writer.node("Equal", [source, writer.constant(f"{result}/sign", missing)], f"{result}/missing")
    writer.node("Where", [found, writer.constant(f"{result}/values", values), source], result)
    return True
