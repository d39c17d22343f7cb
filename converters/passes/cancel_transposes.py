"""Transposes between layers that differ in layout, moved along the graph until they meet their inverses and both go.

A file made from a channels-last framework turns every image before and after each convolution. Here no Transpose is written until
something needs its result: until then a tensor is remembered as a view of another one. Operators that treat all positions alike, or
that only name axes, are computed on the view's base instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import helper

from converters.model import ONNX_DOMAINS, Graph, attributes, copied, reads
from converters.passes.contract import Pass
from converters.passes.turned import TURNING, inverse
from converters.shapes import infer_shapes

Perm = tuple[int, ...]


def cancel_transposes(graph: Graph) -> Graph:
    """The same graph when none can be saved."""
    before = sum(node.op_type == "Transpose" for node in graph.nodes)
    if not before:
        return graph
    work = _Work(graph, {name: len(spec.shape) for name, spec in infer_shapes(graph).items()})
    for node in graph.nodes:
        work.take(node)
    work.end()
    after = sum(node.op_type == "Transpose" for node in work.nodes)
    return graph.edited(work.nodes, work.added) if after < before else graph


@dataclass(slots=True, eq=False)
class _Work:
    """``views``: tensors that are not written (yet), each as a written one and the axes it is to be transposed by."""

    graph: Graph
    ranks: dict[str, int]
    nodes: list[Any] = field(default_factory=list)
    added: dict[str, Any] = field(default_factory=dict)
    views: dict[str, tuple[str, Perm]] = field(default_factory=dict)
    written: dict[tuple[str, Perm], str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.used |= {name for node in self.graph.nodes for name in node.output} | set(self.graph.constants) | set(self.ranks)

    def take(self, node: Any) -> None:
        if node.op_type == "Transpose" and node.domain in ONNX_DOMAINS and node.input[0] in self.ranks:
            self._view(node)
        elif not self._turned(node):
            self.nodes.append(self._plain(node))

    def end(self) -> None:
        for name in sorted(self.graph.output_names() & set(self.views)):
            base, perm = self.views.pop(name)
            self.nodes.append(_transpose(base, perm, name))

    def _view(self, node: Any) -> None:
        rank = self.ranks[node.input[0]]
        perm = tuple(int(axis) for axis in attributes(node).get("perm", reversed(range(rank))))
        base, before = self.views.get(node.input[0], (node.input[0], tuple(range(rank))))
        self.views[node.output[0]] = (base, tuple(before[axis] for axis in perm))

    def _turned(self, node: Any) -> bool:
        """Writes ``node`` on the bases of its views, if it can be; its outputs become views."""
        turn = TURNING.get(node.op_type) if node.domain in ONNX_DOMAINS else None
        views = [self.views[name] for name in node.input if name in self.views]
        if turn is None or not views or not _moves(views[0][1]):
            return False
        perm = views[0][1]
        inputs = self._bases(node, perm)
        made = None if inputs is None else turn(node, inputs, perm, self)
        if made is None:
            return False
        self.nodes.append(made.node)
        for name, base in zip(node.output, made.node.output, strict=True):
            self.views[name] = (base, made.perm)
        return True

    def _bases(self, node: Any, perm: Perm) -> list[str] | None:
        """What ``node`` reads instead, where everything that varies is a view by the same ``perm`` or exists turned back already."""
        found: list[str] = []
        for name in node.input:
            if name in self.views and self.views[name][1] == perm:
                found.append(self.views[name][0])
            elif not name or name in self.graph.constants:
                found.append(name)
            elif (name, inverse(perm)) in self.written and name not in self.views:
                found.append(self.written[name, inverse(perm)])
            else:
                return None
        return found

    def _plain(self, node: Any) -> Any:
        """``node`` as it is, with the Transposes written that it needs; those in subgraphs read by name."""
        for name in sorted(reads(node) - set(node.input)):
            if name in self.views:
                base, perm = self.views.pop(name)
                self.nodes.append(_transpose(base, perm, name))
        inputs = [self._write(name) if name in self.views else name for name in node.input]
        return node if inputs == list(node.input) else copied(node, inputs=inputs)

    def _write(self, name: str) -> str:
        base, perm = self.views[name]
        if not _moves(perm):
            return base
        if (base, perm) not in self.written:
            made = name if name not in self.graph.output_names() else self.fresh(name)
            self.nodes.append(_transpose(base, perm, made))
            self.written[base, perm] = made
        return self.written[base, perm]

    def fresh(self, name: str) -> str:
        made, count = f"{name}/turned", 1
        while made in self.used:
            count += 1
            made = f"{name}/turned{count}"
        self.used.add(made)
        return made

    def constant(self, name: str, array: Any) -> str:
        made = self.fresh(name)
        self.added[made] = np.ascontiguousarray(array)
        return made

    def known(self, name: str) -> Any:
        return self.graph.constants.get(name)


def _moves(perm: Sequence[int]) -> bool:
    return list(perm) != list(range(len(perm)))


def _transpose(base: str, perm: Perm, name: str) -> Any:
    if _moves(perm):
        return helper.make_node("Transpose", [base], [name], perm=perm)
    return helper.make_node("Identity", [base], [name])


CANCEL_TRANSPOSES = Pass("cancel_transposes", cancel_transposes)
