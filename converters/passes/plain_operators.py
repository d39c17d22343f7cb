"""Operators in the words of plainer ones that have integer kernels: a division by a constant as a product, a power as one, and so on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from converters.model import Graph, attributes
from converters.passes.contract import Pass
from converters.passes.draft import Draft
from converters.passes.linear import linear_weights
from converters.shapes import infer_shapes
from edge_agent.values import TensorSpec


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """A node to rewrite: its float constants by name, the shapes around it, and the draft of what replaces it."""

    node: Any
    constants: Mapping[str, Any]
    shapes: Mapping[str, TensorSpec]
    draft: Draft

    def float_constant(self, position: int) -> Any:
        """The float32 constant at an input, ``None`` when it is absent, computed or of another type."""
        name = self.node.input[position] if len(self.node.input) > position else ""
        array = self.constants.get(name)
        return array if array is not None and array.dtype == np.float32 else None

    def last(self, op: str, *inputs: str, **options: Any) -> bool:
        """The node that writes what the old one wrote."""
        self.draft.node(op, *inputs, output=self.node.output[0], **options)
        return True


def plain_operators(graph: Graph) -> Graph:
    if not any(node.op_type in _REWRITES for node in graph.nodes):
        return graph
    shapes = infer_shapes(graph)
    kept: list[Any] = []
    added: dict[str, Any] = {}
    for node in graph.nodes:
        rewrite = _REWRITES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        place = _Place(node, graph.constants, shapes, Draft(node.output[0]))
        spec = shapes.get(node.output[0])
        if rewrite is None or spec is None or spec.dtype != "float32" or not rewrite(place):
            kept.append(node)
            continue
        kept += place.draft.nodes
        added.update(place.draft.constants)
    return graph.edited(kept, added) if kept != list(graph.nodes) else graph


def _div(place: _Place) -> bool:
    divisor = place.float_constant(1)
    if divisor is None or not np.all(divisor != 0):
        return False
    factor = 1.0 / divisor.astype(np.float64)
    return place.last("Mul", place.node.input[0], place.draft.constant(factor))


def _neg(place: _Place) -> bool:
    return place.last("Mul", place.node.input[0], place.draft.constant(-1.0))


def _pow(place: _Place) -> bool:
    exponent = place.constants.get(place.node.input[1])
    if exponent is None or exponent.size != 1 or place.node.input[0] in place.constants:
        return False
    x, number = place.node.input[0], float(exponent.reshape(()))
    if number == 2:
        return place.last("Mul", x, x)
    if number == 3:
        return place.last("Mul", place.draft.node("Mul", x, x), x)
    if number == 0.5:
        return place.last("Sqrt", x)
    return False


def _hard_sigmoid(place: _Place) -> bool:
    """max(0, min(1, alpha x + beta)) as a rectifier to 6, which kernels have: min(6, 6 alpha x + 6 beta) / 6."""
    options, draft = attributes(place.node), place.draft
    alpha, beta, x = options.get("alpha", 0.2), options.get("beta", 0.5), place.node.input[0]
    if abs(6 * alpha - 1) > 1e-6:
        x = draft.node("Mul", x, draft.constant(6 * alpha))
    shifted = draft.node("Add", x, draft.constant(6 * beta))
    bounded = draft.node("Clip", shifted, draft.constant(0.0), draft.constant(6.0))
    return place.last("Mul", bounded, draft.constant(1 / 6))


def _softsign(place: _Place) -> bool:
    x, draft = place.node.input[0], place.draft
    return place.last("Div", x, draft.node("Add", draft.node("Abs", x), draft.constant(1.0)))


def _mish(place: _Place) -> bool:
    """Misra 2019: x tanh(softplus(x))."""
    x, draft = place.node.input[0], place.draft
    return place.last("Mul", x, draft.node("Tanh", draft.node("Softplus", x)))


def _batch_normalization(place: _Place) -> bool:
    numbers = [place.float_constant(position) for position in range(1, 5)]
    spec = place.shapes.get(place.node.input[0])
    if spec is None or any(place.node.output[1:]) or any(number is None for number in numbers):
        return False
    gamma, beta, mean, variance = (number.astype(np.float64) for number in numbers)
    factor = gamma / np.sqrt(variance + attributes(place.node).get("epsilon", 1e-5))
    form = (-1, *(1,) * (len(spec.shape) - 2))
    scaled = place.draft.node("Mul", place.node.input[0], place.draft.constant(factor.reshape(form)))
    return place.last("Add", scaled, place.draft.constant((beta - mean * factor).reshape(form)))


def _gemm(place: _Place) -> bool:
    """One with factors, transposes or computed sides, as a product and a sum."""
    node, draft, options = place.node, place.draft, attributes(place.node)
    if linear_weights(node, place.constants) is not None:
        return False
    left, right = node.input[:2]
    left = draft.node("Transpose", left, perm=[1, 0]) if options.get("transA", 0) else left
    alpha, beta = options.get("alpha", 1.0), options.get("beta", 1.0)
    weight = place.float_constant(1)
    if weight is not None:
        matrix = weight.T if options.get("transB", 0) else weight
        product = draft.node("Gemm", left, draft.constant(matrix.astype(np.float64) * alpha))
    else:
        right = draft.node("Transpose", right, perm=[1, 0]) if options.get("transB", 0) else right
        product = draft.node("MatMul", left, right)
        product = draft.node("Mul", product, draft.constant(alpha)) if alpha != 1.0 else product
    if len(node.input) < 3 or not node.input[2]:
        return place.last("Mul", product, draft.constant(1.0))
    added = place.float_constant(2)
    if added is not None:
        return place.last("Add", product, draft.constant(added.astype(np.float64) * beta))
    return place.last("Add", product, draft.node("Mul", node.input[2], draft.constant(beta)))


_REWRITES: Mapping[str, Callable[[_Place], bool]] = MappingProxyType(
    {
        "BatchNormalization": _batch_normalization,
        "Div": _div,
        "Gemm": _gemm,
        "HardSigmoid": _hard_sigmoid,
        "Mish": _mish,
        "Neg": _neg,
        "Pow": _pow,
        "Softsign": _softsign,
    }
)

REWRITTEN: tuple[str, ...] = tuple(_REWRITES)
"""Operators that this pass says otherwise, where their constants allow."""

PLAIN_OPERATORS = Pass("plain_operators", plain_operators)
