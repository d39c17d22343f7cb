"""Tree ensembles made smaller without changing an answer: equal subtrees of a tree are kept once, tests whose two ways are equal and
nodes that no way leads to are dropped, and so are weights of zero where the rule of the sum allows it.

A subtree is shared only where it is entered by a true way: ONNX Runtime lays out the false child of every node right behind it and refuses
a file where it cannot (``onnxruntime/core/providers/cpu/ml/tree_ensemble_common.h``, AddNodes).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converters.model import Graph, attributes
from converters.passes.contract import Pass
from converters.passes.tree_nodes import Tree, TreeNode, Weights, read_trees, role_of, write_trees

_OPS = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
_DOMAIN = "ai.onnx.ml"


def merge_trees(graph: Graph) -> Graph:
    replaced: dict[int, Any] = {}
    for node in graph.nodes:
        if node.op_type in _OPS and node.domain == _DOMAIN:
            trees = read_trees(node)
            smaller = None if trees is None else merged(node, trees)
            if smaller is not None:
                replaced[id(node)] = write_trees(node, smaller)
    if not replaced:
        return graph
    return graph.edited([replaced.get(id(node), node) for node in graph.nodes])


def merged(node: Any, trees: Sequence[Tree]) -> list[Tree] | None:
    """Smaller trees that answer alike, or ``None`` when nothing can go."""
    if any(row.test is not None and row.test[0] == b"BRANCH_EQ" for tree in trees for row in tree):
        return None  # the runtime makes one test of several equalities in a row, and errs where their rows are shared
    sparse = _without_zeros(node, trees)
    made = [_shared(tree) for tree in sparse]
    if any(tree is None for tree in made):
        return None
    kept = [tree for tree in made if tree is not None]
    before, after = (sum(len(tree) + sum(len(row.weights) for row in tree) for tree in group) for group in (trees, kept))
    return kept if after < before else None


def _without_zeros(node: Any, trees: Sequence[Tree]) -> Sequence[Tree]:
    """Adding zero changes no sum. Votes for the label look only at classes that were added to: every leaf keeps a weight, all weights
    must be positive, and no class may vanish. With two classes the runtime has other rules, for which it counts who was added to."""
    options = attributes(node)
    weights = [weight for tree in trees for row in tree for weight in row.weights]
    if options.get("aggregate_function", b"SUM") not in (b"SUM", b"AVERAGE"):
        return trees
    if role_of(node) == "class":
        if options.get("post_transform", b"NONE") != b"NONE" or any(weight < 0 for _, weight in weights):
            return trees
        used = {number for number, weight in weights if weight}
        if len(used) < 3 or used != {number for number, _ in weights}:
            return trees
        if any(row.test is None and not any(weight for _, weight in row.weights) for tree in trees for row in tree):
            return trees
    return [[_sparse(row) for row in tree] for tree in trees]


def _sparse(row: TreeNode) -> TreeNode:
    if row.test is not None or all(weight for _, weight in row.weights):
        return row
    kept: Weights = tuple(entry for entry in row.weights if entry[1]) or row.weights[:1]
    return TreeNode(None, weights=kept)


def _shared(tree: Tree) -> Tree | None:
    """``tree`` with equal subtrees once; ``None`` for one that runs in a circle."""
    order = _children_first(tree)
    if order is None:
        return None
    numbers: dict[Any, int] = {}
    rows: list[TreeNode] = []  # what each number stands for, children as numbers
    number_of: dict[int, int] = {}
    for i in order:
        row = tree[i]
        if row.test is not None:
            row = TreeNode(row.test, number_of[row.true], number_of[row.false])
            if row.true == row.false:
                number_of[i] = row.true
                continue
        key = (
            row.test and (*row.test, str(row.test[2])),
            row.true,
            row.false,
            tuple((n, str(w)) for n, w in row.weights),
        )  # -0.0 is not 0.0
        if key not in numbers:
            numbers[key] = len(rows)
            rows.append(row)
        number_of[i] = numbers[key]
    return laid_out(rows, number_of[0])


def _children_first(tree: Tree) -> list[int] | None:
    """Rows that the root leads to, each behind its children. Deep trees must not end in a recursion limit."""
    order: list[int] = []
    state: dict[int, int] = {}  # 1 while its children are being walked, 2 when done
    stack = [0]
    while stack:
        i = stack[-1]
        if state.get(i) or tree[i].test is None:
            stack.pop()
            if state.get(i) != 2:
                order.append(i)
            state[i] = 2
            continue
        state[i] = 1
        for child in (tree[i].true, tree[i].false):
            if state.get(child) == 1:
                return None
            if state.get(child) != 2:
                stack.append(child)
    return order


def laid_out(rows: Sequence[TreeNode], root: int) -> Tree:
    """Rows in the order in which the runtime visits them, false way first; one already laid out is used again by a true way only."""
    made: list[TreeNode] = []
    placed: dict[int, int] = {}
    waiting: list[tuple[int, int, bool]] = [(root, -1, False)]  # row, the one that leads to it, by which way
    while waiting:
        number, parent, by_true = waiting.pop()
        index = placed.get(number) if by_true else None
        if index is None:
            index = len(made)
            placed.setdefault(number, index)
            made.append(rows[number])
            if rows[number].test is not None:
                waiting.append((rows[number].true, index, True))
                waiting.append((rows[number].false, index, False))
        if parent >= 0:
            above = made[parent]
            made[parent] = TreeNode(above.test, index if by_true else above.true, above.false if by_true else index)
    return made


MERGE_TREES = Pass("merge_trees", merge_trees)
