"""A product of many rows with constant weights and the bias behind it, as one dense layer on the rows laid one below the other.

ONNX Runtime makes a Gemm of such a pair by itself, from 1.23 on for more than two dimensions too, and does so before it looks for what it
can compute in integers: the weights would be converted to float at each inference. Written as a Gemm with a bias of its own, it has an
integer kernel that adds the bias as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import helper

from converters.calibrate.ranges import Range
from converters.model import Graph, copied
from converters.shapes import infer_shapes

_LIMITS = ("Relu", "Clip")


def rows_as_dense(graph: Graph, ranges: Mapping[str, Range], keep_float: frozenset[str]) -> tuple[Graph, dict[str, Range]]:
    """The graph with those products rewritten, and ``ranges`` with those of the new tensors. Nodes in ``keep_float`` stay as they are."""
    return _Rewriting(graph, ranges).rewritten(keep_float)


class _Rewriting:
    def __init__(self, graph: Graph, ranges: Mapping[str, Range]) -> None:
        self._graph, self.ranges = graph, dict(ranges)
        self._consumers, self._shown = graph.consumers(), graph.output_names()
        self._shapes = infer_shapes(graph)
        self._constants: dict[str, Any] = {}
        self._nodes: list[Any] = []
        self._laid: set[str] = set()

    def rewritten(self, keep_float: frozenset[str]) -> tuple[Graph, dict[str, Range]]:
        replaced: set[int] = set()
        for node in self._graph.nodes:
            if id(node) in replaced:
                continue
            followers = self._followers(node) if node.op_type == "MatMul" and node.output[0] not in keep_float else []
            if followers:
                self._dense(node, followers)
                replaced.update(id(follower) for follower in followers)
            else:
                self._nodes.append(node)
        return (self._graph.edited(self._nodes, self._constants) if replaced else self._graph), self.ranges

    def _followers(self, node: Any) -> list[Any]:
        """The sum with the bias, and the rectifier after it, if any; nothing when ``node`` is not to be rewritten."""
        weight, shape = self._graph.constants.get(node.input[1]), self._shape(node.input[0])
        add = self._only_reader(node.output[0])
        if weight is None or weight.ndim != 2 or len(shape) < 3 or shape.count(-1) > 1 or add is None or add.op_type != "Add":
            return []
        bias = self._graph.constants.get(_other(add, node.output[0]))
        names = (node.input[0], add.output[0])
        if bias is None or bias.size != weight.shape[1] or bias.shape[-1:] != (bias.size,) or any(n not in self.ranges for n in names):
            return []
        limit = self._only_reader(add.output[0])
        if limit is not None and limit.op_type in _LIMITS and limit.input[0] == add.output[0] and limit.output[0] in self.ranges:
            return [add, limit]
        return [add]

    def _dense(self, node: Any, followers: list[Any]) -> None:
        source, result = node.input[0], str(followers[-1].output[0])
        weight, add = self._graph.constants[node.input[1]], followers[0]
        rows = self._reshaped(source, f"{source}/rows", (-1, weight.shape[0]))
        bias = f"{add.output[0]}/bias"
        self._constants[bias] = self._graph.constants[_other(add, node.output[0])].reshape(-1)
        last = f"{add.output[0]}/rows"
        self.ranges[last] = self.ranges[add.output[0]]
        self._nodes.append(helper.make_node("Gemm", [rows, node.input[1], bias], [last], node.name))
        for limit in followers[1:]:
            self._nodes.append(copied(limit, inputs=[last, *limit.input[1:]], outputs=[f"{result}/rows"]))
            last = f"{result}/rows"
            self.ranges[last] = self.ranges[result]
        self._reshaped(last, result, (*self._shape(source)[:-1], weight.shape[1]))

    def _reshaped(self, source: str, target: str, shape: tuple[int, ...]) -> str:
        if target not in self._laid:
            self._laid.add(target)
            self._constants[f"{target}/shape"] = np.array(shape, np.int64)
            self._nodes.append(helper.make_node("Reshape", [source, f"{target}/shape"], [target]))
            self.ranges.setdefault(target, self.ranges[source])
        return target

    def _only_reader(self, name: str) -> Any:
        readers = self._consumers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self._shown else None

    def _shape(self, name: str) -> tuple[int, ...]:
        spec = self._shapes.get(name)
        return () if spec is None else tuple(-1 if size is None else size for size in spec.shape)


def _other(add: Any, name: str) -> str:
    return str(add.input[1] if add.input[0] == name else add.input[0])
