"""Which nodes of a network are computed in integers when some of it must stay float."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from converters.targets.scales import Scale
from edge_agent.values import TensorSpec

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that integers pay for wherever they stand; the others follow what they read."""


def integer_nodes(
    nodes: Iterable[tuple[Any, str]],
    scales: Mapping[str, Scale],
    shapes: Mapping[str, TensorSpec],
    changing: Collection[str],
    stays_float: Collection[str],
    float_only: Collection[str],
) -> frozenset[str]:
    """First-output names of the nodes to compute in integers.

    ``nodes`` are nodes in order with the name of the tensor each leaves (after a rectifier it takes in), ``changing`` the tensors that
    samples change, ``stays_float`` the first-output names that the caller keeps float, ``float_only`` the operators without an integer
    kernel. A node with a float tensor that has no scale, or with none at all, is not one of them. A node between float ones stays float
    too unless it is a layer: to quantize values for it alone costs more than it saves.
    """
    chosen: set[str] = set()
    left_float: set[str] = set()
    for node, result in nodes:
        read = [name for name in node.input if name in changing and _real(name, shapes)]
        written = [name for name in (result, *node.output[1:]) if name]
        able = node.op_type not in float_only and node.output[0] not in stays_float and all(_real(name, shapes) for name in written)
        able = able and bool(read) and all(name in scales for name in (*read, *written))
        if able and (node.op_type in LAYERS or not left_float.issuperset(read)):
            chosen.add(node.output[0])
        else:
            left_float.update(written)
    return frozenset(chosen)


def _real(name: str, shapes: Mapping[str, TensorSpec]) -> bool:
    spec = shapes.get(name)
    return spec is not None and spec.dtype == "float32"
