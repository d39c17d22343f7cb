"""Transposes move through whatever treats axes alike, and the network computes what it did."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiny_nets import Net

from converters.model import Graph
from converters.passes.cancel_transposes import CANCEL_TRANSPOSES, cancel_transposes
from converters.passes.prove import prove_passes

SHAPE = (1, 2, 3, 4)


def transposes(graph: Graph) -> int:
    return sum(node.op_type == "Transpose" for node in graph.nodes)


class Wanderer:
    """Draws operators at random, each on tensors whose shapes it knows."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.net = Net(SHAPE, seed)
        self.known: list[tuple[str, tuple[int, ...]]] = [("x", SHAPE)]

    def graph(self, steps: int) -> Graph:
        draws = [
            self.turn,
            self.turn,
            self.turn,
            self.one,
            self.scaled,
            self.both,
            self.joined,
            self.padded,
            self.cut,
            self.reduced,
            self.unsqueezed,
        ]
        for _ in range(steps):
            name, shape = self.known[self.random.integers(max(len(self.known) - 4, 0), len(self.known))]
            self.random.choice(np.array(draws, object))(name, shape)
        return self.net.graph(self.net.node("Identity", self.known[-1][0]))

    def keep(self, name: str, shape: tuple[int, ...]) -> None:
        self.known.append((name, shape))

    def turn(self, name: str, shape: tuple[int, ...]) -> None:
        perm = [int(axis) for axis in self.random.permutation(len(shape))]
        self.keep(self.net.node("Transpose", name, perm=perm), tuple(shape[axis] for axis in perm))

    def one(self, name: str, shape: tuple[int, ...]) -> None:
        self.keep(self.net.node(str(self.random.choice(["Relu", "Sigmoid", "Neg", "Abs"])), name), shape)

    def scaled(self, name: str, shape: tuple[int, ...]) -> None:
        form = shape[int(self.random.integers(0, len(shape) + 1)) :]
        form = tuple(size if self.random.random() < 0.6 else 1 for size in form)
        other = self.net.constant(self.random.normal(0, 1, form))
        inputs = [name, other] if self.random.random() < 0.5 else [other, name]
        self.keep(self.net.node(str(self.random.choice(["Add", "Mul", "Sub"])), *inputs), shape)

    def both(self, name: str, shape: tuple[int, ...]) -> None:
        same = [other for other, size in self.known if size == shape]
        self.keep(self.net.node("Add", name, str(self.random.choice(same))), shape)

    def joined(self, name: str, shape: tuple[int, ...]) -> None:
        same = [other for other, size in self.known if size == shape]
        axis = int(self.random.integers(-len(shape), len(shape)))
        if shape and shape[axis] < 6:
            grown = list(shape)
            grown[axis] *= 2
            self.keep(self.net.node("Concat", name, str(self.random.choice(same)), axis=axis), tuple(grown))

    def padded(self, name: str, shape: tuple[int, ...]) -> None:
        amounts = self.random.integers(0, 2, (2, len(shape))) * (self.random.random() < 0.5)
        made = self.net.node("Pad", name, self.net.constant(amounts.reshape(-1), "int64"))
        self.keep(made, tuple(int(size + more) for size, more in zip(shape, amounts.sum(0), strict=True)))

    def cut(self, name: str, shape: tuple[int, ...]) -> None:
        axis = int(self.random.integers(0, len(shape)))
        if shape[axis] > 1:
            numbers = [self.net.constant([value], "int64") for value in (1, 1 << 40, axis - len(shape))]
            self.keep(self.net.node("Slice", name, *numbers), (*shape[:axis], shape[axis] - 1, *shape[axis + 1 :]))

    def reduced(self, name: str, shape: tuple[int, ...]) -> None:
        axis, keep = int(self.random.integers(0, len(shape))), bool(self.random.random() < 0.5)
        if len(shape) > 2:
            after = tuple(1 if place == axis else size for place, size in enumerate(shape) if keep or place != axis)
            self.keep(self.net.node("ReduceMean", name, axes=[axis], keepdims=int(keep)), after)

    def unsqueezed(self, name: str, shape: tuple[int, ...]) -> None:
        axis = int(self.random.integers(0, len(shape)))
        if shape[axis] == 1 and len(shape) > 2:
            self.keep(self.net.node("Squeeze", name, self.net.constant([axis], "int64")), (*shape[:axis], *shape[axis + 1 :]))
        elif len(shape) < 5:
            self.keep(self.net.node("Unsqueeze", name, self.net.constant([axis], "int64")), (*shape[:axis], 1, *shape[axis:]))


@pytest.mark.parametrize("block", range(6))
def test_random_networks_compute_the_same_with_fewer_transposes(block: int) -> None:
    saved = 0
    for seed in range(block * 25, block * 25 + 25):
        graph = Wanderer(seed).graph(14)
        assert prove_passes(graph, [CANCEL_TRANSPOSES]) == ""
        after = cancel_transposes(graph)
        assert transposes(after) < transposes(graph) or after is graph
        saved += transposes(graph) - transposes(after)
    assert saved > 5


def test_a_view_read_by_a_branch_keeps_its_name() -> None:
    """Subgraphs read the tensors around them by name."""
    from onnx import TensorProto, helper

    n = Net((1, 2, 2))
    turned = n.node("Transpose", "x", perm=[0, 2, 1])
    back = n.node("Transpose", n.node("Transpose", n.node("Relu", turned), perm=[0, 2, 1]), perm=[0, 2, 1])

    def branch(op: str) -> Any:
        made = helper.make_tensor_value_info("made", TensorProto.FLOAT, [1, 2, 2])
        return helper.make_graph([helper.make_node(op, [turned], ["made"])], op, [], [made])

    chosen = n.node("If", n.constant(True, "bool"), then_branch=branch("Neg"), else_branch=branch("Abs"))
    graph = n.graph(n.node("Add", chosen, back))
    assert transposes(cancel_transposes(graph)) < transposes(graph)
    assert prove_passes(graph, [CANCEL_TRANSPOSES]) == ""
