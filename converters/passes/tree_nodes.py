"""The node tables of a TreeEnsembleClassifier or TreeEnsembleRegressor (ONNX, ai.onnx.ml versions 1 and 3), read and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from converters.model import attributes

LEAF = b"LEAF"

Weights = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class TreeNode:
    """``test`` is mode, feature, threshold and whether a missing value goes the true way; ``true`` and ``false`` are rows of the same
    tree. A leaf has no test, but ``weights``: class or target, and what is added to it."""

    test: tuple[bytes, int, float, int] | None
    true: int = 0
    false: int = 0
    weights: Weights = ()


Tree = Sequence[TreeNode]
"""Rows by node; the root comes first."""


def role_of(node: Any) -> str:
    """What the weights of its leaves are for: class or target."""
    return "class" if node.op_type == "TreeEnsembleClassifier" else "target"


def read_trees(node: Any) -> list[Tree] | None:
    """The trees in order, ``None`` for tables that do not agree with themselves (the runtime will say so)."""
    options, role = attributes(node), role_of(node)
    try:
        starts = _starts(options["nodes_treeids"])
        weights = _weights(options, role)
        return [_tree(options, first, last, weights) for first, last in starts]
    except (KeyError, IndexError, ValueError):
        return None


def _starts(owners: Sequence[int]) -> list[tuple[int, int]]:
    """First row and row after the last of each tree. Raises ValueError for a tree in several pieces."""
    edges = [0, *(i for i in range(1, len(owners)) if owners[i] != owners[i - 1]), len(owners)]
    if len({owners[i] for i in edges[:-1]}) != len(edges) - 1:
        raise ValueError("a tree lies in pieces")
    return list(pairwise(edges))


def _weights(options: dict[str, Any], role: str) -> dict[tuple[int, int], list[tuple[int, float]]]:
    held: dict[tuple[int, int], list[tuple[int, float]]] = {}
    columns = [_numbers(options, f"{role}_{key}") for key in ("treeids", "nodeids", "ids", "weights")]
    for tree, row, number, weight in zip(*columns, strict=True):
        held.setdefault((tree, row), []).append((number, weight))
    return held


def _numbers(options: dict[str, Any], key: str) -> list[Any]:
    """A table as numbers; the newer form keeps float64 in a tensor."""
    tensor = options.get(f"{key}_as_tensor")
    return list(options[key]) if tensor is None else list(numpy_helper.to_array(tensor).tolist())


def _tree(options: dict[str, Any], first: int, last: int, weights: dict[tuple[int, int], list[tuple[int, float]]]) -> Tree:
    rows = range(first, last)
    names, owner = [options["nodes_nodeids"][row] for row in rows], options["nodes_treeids"][first]
    index = {name: i for i, name in enumerate(names)}
    if len(index) != len(names):
        raise ValueError("a node number twice")
    missing = options.get("nodes_missing_value_tracks_true") or [0] * len(options["nodes_treeids"])
    values = _numbers(options, "nodes_values")
    made = []
    for i, row in enumerate(rows):
        if options["nodes_modes"][row] == LEAF:
            made.append(TreeNode(None, weights=tuple(weights.get((owner, names[i]), ()))))
            continue
        test = (options["nodes_modes"][row], options["nodes_featureids"][row], values[row], missing[row])
        made.append(TreeNode(test, index[options["nodes_truenodeids"][row]], index[options["nodes_falsenodeids"][row]]))
    return made


def write_trees(node: Any, trees: Sequence[Tree]) -> Any:
    """A copy of ``node`` with other trees. How often a training row met a node (hit rates) is left out: no runtime reads it."""
    role, old = role_of(node), attributes(node)
    rows = [(number, i, row) for number, tree in enumerate(trees) for i, row in enumerate(tree)]
    leaves = [(number, i, *weight) for number, i, row in rows for weight in row.weights]
    tests = [row.test or (LEAF, 0, 0.0, 0) for _, _, row in rows]
    tables: dict[str, Any] = {
        "nodes_treeids": [number for number, _, _ in rows],
        "nodes_nodeids": [i for _, i, _ in rows],
        "nodes_modes": [test[0] for test in tests],
        "nodes_featureids": [test[1] for test in tests],
        "nodes_values": [test[2] for test in tests],
        "nodes_truenodeids": [row.true for _, _, row in rows],
        "nodes_falsenodeids": [row.false for _, _, row in rows],
        f"{role}_treeids": [leaf[0] for leaf in leaves],
        f"{role}_nodeids": [leaf[1] for leaf in leaves],
        f"{role}_ids": [leaf[2] for leaf in leaves],
        f"{role}_weights": [leaf[3] for leaf in leaves],
    }
    if any(test[3] for test in tests):
        tables["nodes_missing_value_tracks_true"] = [test[3] for test in tests]
    made = helper.make_node(node.op_type, list(node.input), list(node.output), node.name, domain=node.domain)
    dropped = {"nodes_hitrates", "nodes_hitrates_as_tensor", "nodes_missing_value_tracks_true"}
    for attribute in node.attribute:
        if attribute.name not in tables and attribute.name not in dropped and attribute.name.removesuffix("_as_tensor") not in tables:
            made.attribute.append(attribute)
    for key, values in tables.items():
        if f"{key}_as_tensor" in old:
            made.attribute.append(helper.make_attribute(f"{key}_as_tensor", numpy_helper.from_array(np.asarray(values, np.float64), key)))
        elif values:
            made.attribute.append(helper.make_attribute(key, values))
    return made
