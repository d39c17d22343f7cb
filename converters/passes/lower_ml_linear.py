"""LinearRegressor, LinearClassifier and support vector regression with a linear kernel, as dense layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.model import attributes
from converters.passes.lower_ml_writer import Writer

_ENDINGS = {b"SOFTMAX": "Softmax", b"LOGISTIC": "Sigmoid"}


def linear_regressor(writer: Writer, node: Any) -> bool:
    """x W + b, for each target."""
    source, result, options = node.input[0], node.output[0], attributes(node)
    targets = int(options.get("targets", 1))
    weight = _weight(options, targets)
    if weight is None or not _takes(writer, source, weight) or options.get("post_transform", b"NONE") != b"NONE":
        return False
    _dense(writer, node, weight, _bias(options, targets), result)
    return True


def linear_classifier(writer: Writer, node: Any) -> bool:
    """Scores by class; the label is the class of the largest. Two classes may share one row of weights: the first is its opposite."""
    source, options = node.input[0], attributes(node)
    labels, words = options.get("classlabels_ints"), options.get("classlabels_strings")
    count = len(labels or words or ())
    ending = options.get("post_transform", b"NONE")
    rows = len(options.get("intercepts", ())) or count
    weight = _weight(options, rows)
    if weight is None or not _takes(writer, source, weight) or ending not in (b"NONE", *_ENDINGS):
        return False
    label, scores = node.output[0], node.output[1] if len(node.output) > 1 else ""
    wanted = bool(label) and label in writer.read
    bias = _bias(options, rows)
    if rows == 1 and count == 2 and ending == b"LOGISTIC":
        weight, bias = np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
    elif rows != count:
        return False
    if wanted and labels is None:
        return False
    scores = scores or f"{label}/scores"
    raw = _dense(writer, node, weight, bias, scores if ending == b"NONE" else f"{scores}/raw")
    if ending == b"SOFTMAX":
        writer.node("Softmax", [raw], scores, axis=-1)
    elif ending == b"LOGISTIC":
        writer.node("Sigmoid", [raw], scores)
    if wanted:
        _label(writer, raw, label, labels)
    return True


def svm_regressor(writer: Writer, node: Any) -> bool:
    """With a linear kernel the support vectors add up to one row of weights: sum of a_i (s_i x) + rho."""
    source, result, options = node.input[0], node.output[0], attributes(node)
    plain = options.get("post_transform", b"NONE") == b"NONE" and not options.get("one_class", 0)
    if not plain or options.get("kernel_type", b"LINEAR") != b"LINEAR":
        return False
    vectors, factors = (np.asarray(options.get(key, ()), np.float64) for key in ("support_vectors", "coefficients"))
    supports = int(options.get("n_supports", 0))
    if supports and (vectors.size % supports or factors.size != supports):
        return False
    weight = (factors @ vectors.reshape(supports, -1) if supports else factors).reshape(1, -1)
    if not _takes(writer, source, weight):
        return False
    _dense(writer, node, weight, np.asarray(options.get("rho", (0.0,))[:1]), result)
    return True


def _weight(options: dict[str, Any], rows: int) -> Any:
    """The coefficients, one row a target; ``None`` where they do not divide into rows."""
    flat = np.asarray(options.get("coefficients", ()), np.float32)
    return flat.reshape(rows, -1) if rows and flat.size and flat.size % rows == 0 else None


def _bias(options: dict[str, Any], rows: int) -> Any:
    held = np.asarray(options.get("intercepts", ()), np.float32)
    return held if held.size == rows else np.zeros(rows, np.float32)


def _takes(writer: Writer, source: str, weight: Any) -> bool:
    return writer.can_be_float(source) and writer.rank(source) == 2 and writer.width(source) in (None, weight.shape[1])


def _dense(writer: Writer, node: Any, weight: Any, bias: Any, result: str) -> str:
    names = [writer.constant(f"{result}/weight", weight), writer.constant(f"{result}/bias", bias)]
    return writer.node("Gemm", [writer.as_float(node.input[0], result), *names], result, transB=1)


def _label(writer: Writer, raw: str, label: str, labels: Any) -> None:
    """Softmax and the logistic function keep the order, so the raw scores tell; where they round to equal numbers, still rightly."""
    if list(labels) == list(range(len(labels))):
        writer.node("ArgMax", [raw], label, axis=1, keepdims=0)
        return
    index = writer.node("ArgMax", [raw], f"{label}/index", axis=1, keepdims=0)
    writer.node("Gather", [writer.constant(f"{label}/labels", labels, "int64"), index], label)
