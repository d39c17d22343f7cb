"""Zeros among the weights, shape unchanged: by magnitude, or N of every M along the inputs.

Neither makes a network faster on a processor: ONNX Runtime and LiteRT have no kernel that skips such zeros. The notes say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.errors import InputError
from converters.model import Graph, attributes

LAYERS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True, eq=False)
class Masked:
    """``share`` of the layers' weights that are zero now; ``notes`` say what that is good for."""

    graph: Graph
    share: float
    notes: tuple[str, ...]


def magnitude_mask(graph: Graph, share: float) -> Masked:
    """The smallest ``share`` (0 to 1) of each layer's weights set to zero. Raises :class:`InputError` for another share."""
    if not 0 <= share < 1:
        raise InputError(f"a share of weights to zero must be at least 0 and below 1, not {share}")
    notes = (
        "zeros in no order: smaller only when the file is compressed to be sent",
        "not faster on any processor here: the runtimes multiply by zeros as by other numbers",
        "accuracy was not recovered: measure it",
    )
    return _masked(graph, lambda weight, node: _smallest(weight, share), notes)


def n_of_m_mask(graph: Graph, n: int = 2, m: int = 4) -> Masked:
    """In every ``m`` weights along a layer's inputs the ``m - n`` smallest set to zero; inputs left over beyond a multiple of m stay.

    2 of 4 is what the sparse tensor units of NVIDIA's Ampere and later take through TensorRT. Raises :class:`InputError` for other than
    0 < n < m.
    """
    if not 0 < n < m:
        raise InputError(f"{n} of {m}: the first must be above 0 and below the second")
    notes = (
        f"{n} of {m} weights kept: for TensorRT on Jetson boards of the Ampere generation and later, built with its sparsity option",
        "not faster on a processor, in ONNX Runtime or LiteRT; smaller only when the file is compressed to be sent",
        "accuracy was not recovered: measure it",
    )
    return _masked(graph, lambda weight, node: _beyond(weight, node, n, m), notes)


def _masked(graph: Graph, pick: Any, notes: tuple[str, ...]) -> Masked:
    constants, zeros, total = dict(graph.constants), 0, 0
    for node in graph.nodes:
        name = node.input[1] if node.op_type in LAYERS and len(node.input) > 1 else ""
        weight = graph.constants.get(name)
        if weight is None or weight.dtype.kind != "f" or weight.ndim < 2:
            continue
        constants[name] = np.where(pick(weight, node), np.zeros_like(weight), weight)
        zeros += int((constants[name] == 0).sum())
        total += weight.size
    return Masked(graph.edited(graph.nodes, constants), zeros / max(total, 1), notes)


def _smallest(weight: Any, share: float) -> Any:
    """True for the smallest entries; of equals the first."""
    gone = np.zeros(weight.size, bool)
    gone[np.argsort(np.abs(weight).reshape(-1), kind="stable")[: int(share * weight.size)]] = True
    return gone.reshape(weight.shape)


def _beyond(weight: Any, node: Any, n: int, m: int) -> Any:
    conv = node.op_type == "Conv" or (node.op_type == "Gemm" and attributes(node).get("transB", 0))
    rows = np.moveaxis(weight, 1 if conv else weight.ndim - 2, -1)
    whole = rows.shape[-1] // m * m
    blocks = np.abs(rows[..., :whole]).reshape(*rows.shape[:-1], -1, m)
    order = np.argsort(-blocks, axis=-1, kind="stable").argsort(axis=-1, kind="stable")
    gone = np.zeros(rows.shape, bool)
    gone[..., :whole] = (order >= n).reshape(*rows.shape[:-1], whole)
    return np.moveaxis(gone, -1, 1 if conv else weight.ndim - 2)
