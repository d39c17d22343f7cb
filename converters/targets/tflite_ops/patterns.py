"""Activations that exporters spell out in several nodes, found again as the one operator that TensorFlow Lite has for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import helper

from converters.model import Graph
from converters.targets.tflite_ops.elementwise import clip_bounds


def respelled(graph: Graph) -> Graph:
    """``graph`` with each such activation as a HardSwish or Gelu node, whatever its operator set: only for writing from."""
    finder, made = _Finder(graph), {}
    gone: set[int] = set()
    for node in graph.nodes:
        match = finder.match(node) if node.op_type == "Mul" else None
        if match is not None:
            source, op, inner = match
            made[id(node)] = helper.make_node(op, [source], list(node.output), name=node.name)
            gone |= {id(item) for item in inner}
    if not made:
        return graph
    return graph.edited([made.get(id(node), node) for node in graph.nodes if id(node) in made or id(node) not in gone])


class _Finder:
    def __init__(self, graph: Graph) -> None:
        self._constants: Mapping[str, Any] = graph.constants
        self._producers, self._consumers, self._shown = graph.producers(), graph.consumers(), graph.output_names()

    def match(self, last: Any) -> tuple[str, str, list[Any]] | None:
        """Source, operator and spelling nodes when the product ``last`` is x * clip(x + 3, 0, 6) / 6 or x * (1 + erf(x / sqrt 2)) / 2, in
        any order of its factors."""
        inner: list[Any] = []
        factors = self._factors(last, inner)
        number = float(np.prod([factor for factor in factors if not isinstance(factor, str)]))
        names = [factor for factor in factors if isinstance(factor, str)]
        if len(names) != 2:
            return None
        for source, gate in (names, names[::-1]):
            for op, wanted, chain in (("HardSwish", 1 / 6, self._six(gate, source)), ("Gelu", 0.5, self._bell(gate, source))):
                if chain and abs(number - wanted) < 1e-4:
                    return source, op, [*inner, *chain]
        return None

    def _factors(self, node: Any, inner: list[Any]) -> list[str | float]:
        """Names of tensors and values of numbers that are multiplied into ``node``; products that nothing else reads are
        opened, and are ``inner`` then."""
        factors: list[str | float] = []
        for name in node.input:
            before = self._producers.get(name)
            array = self._constants.get(name)
            if array is not None and array.size == 1:
                factors.append(float(array.reshape(())))
            elif before is not None and before.op_type == "Mul" and self._alone(name):
                inner.append(before)
                factors += self._factors(before, inner)
            else:
                factors.append(name)
        return factors

    def _six(self, name: str, source: str) -> list[Any]:
        """The nodes of clip(source + 3, 0, 6)."""
        clip = self._made_by(name, "Clip")
        if clip is None or clip_bounds(clip, self._constants) != (0.0, 6.0):
            return []
        shifted = self._made_by(clip.input[0], "Add")
        return [clip, shifted] if shifted is not None and self._beside(shifted, 3.0) == source else []

    def _bell(self, name: str, source: str) -> list[Any]:
        """The nodes of 1 + erf(source / sqrt 2)."""
        total = self._made_by(name, "Add")
        erf = self._made_by(self._beside(total, 1.0), "Erf") if total is not None else None
        scaled = self._made_by(erf.input[0], "Mul") if erf is not None else None
        if total is None or erf is None or scaled is None or self._beside(scaled, 0.5**0.5) != source:
            return []
        return [total, erf, scaled]

    def _beside(self, node: Any, number: float) -> str:
        """The tensor that stands beside the constant ``number``; empty when none does."""
        for name, other in (node.input, list(node.input)[::-1]):
            array = self._constants.get(other)
            if array is not None and array.size == 1 and abs(float(array.reshape(())) - number) < 1e-4 and name not in self._constants:
                return str(name)
        return ""

    def _made_by(self, name: str, op: str) -> Any:
        node = self._producers.get(name)
        return node if node is not None and node.op_type == op and self._alone(name) else None

    def _alone(self, name: str) -> bool:
        """Whether one node reads tensor ``name`` and nobody else sees it."""
        return len(self._consumers.get(name, ())) == 1 and name not in self._shown
