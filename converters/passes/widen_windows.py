"""Convolutions and pools over one axis as ones over two, the first of size 1.

A tensor (N, C, L) is carried on as (N, C, 1, L) through everything that works value by value, so that a chain of such layers needs no
change of shape between them. A Squeeze of that axis is taken for what it is: such a tensor already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import helper

from converters.model import Graph, attributes, copied, reads
from converters.passes.contract import Pass
from converters.shapes import infer_shapes
from edge_agent.values import TensorSpec

_WINDOWS = ("Conv", "ConvTranspose", "MaxPool", "AveragePool")
_VALUE_BY_VALUE = (
    *("Abs", "Add", "Clip", "Div", "Elu", "Erf", "Exp", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Max", "Min", "Mul", "Neg", "Pow"),
    *("PRelu", "Relu", "Sigmoid", "Softplus", "Sqrt", "Sub", "Tanh"),
)
_AXIS = "/widened axis"


def widen_windows(graph: Graph) -> Graph:
    if not any(node.op_type in _WINDOWS for node in graph.nodes):
        return graph
    shapes = infer_shapes(graph)
    if not any(_slides_over_one(node, shapes) for node in graph.nodes) and not any(_drops_the_axis(n, graph, shapes) for n in graph.nodes):
        return graph
    return _Widening(graph, shapes).run()


class _Widening:
    def __init__(self, graph: Graph, shapes: Mapping[str, TensorSpec]) -> None:
        self._graph, self._shapes = graph, shapes
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {_AXIS: np.asarray([2], np.int64)}
        self._wide: dict[str, str] = {}  # the four-dimensional tensor that holds a three-dimensional one
        self._narrow: set[str] = set()  # those of them that have been written with three dimensions too

    def run(self) -> Graph:
        for node in self._graph.nodes:
            if _slides_over_one(node, self._shapes):
                self._window(node)
            elif _drops_the_axis(node, self._graph, self._shapes):
                self._wide[node.output[0]] = node.input[0]
            elif _adds_the_axis(node, self._graph) and node.input[0] in self._wide and node.output[0] not in self._graph.output_names():
                self._nodes.append(helper.make_node("Identity", [self._wide[node.input[0]]], [node.output[0]], name=node.name))
            elif self._carries_on(node):
                self._value_by_value(node)
            else:
                for name in sorted(reads(node)):
                    self._narrowed(name)
                self._nodes.append(node)
        for spec in self._graph.outputs:
            self._narrowed(spec.name)
        return self._graph.edited(self._nodes, self._constants)

    def _window(self, node: Any) -> None:
        x = node.input[0]
        if x not in self._wide:
            self._wide[x] = f"{x}/wide"
            self._narrow.add(x)
            self._nodes.append(helper.make_node("Unsqueeze", [x, _AXIS], [self._wide[x]], name=self._wide[x]))
        inputs = [self._wide[x], *node.input[1:]]
        if len(inputs) > 1:
            inputs[1] = self._widened(inputs[1])
        made = copied(node, inputs=inputs, outputs=[f"{node.output[0]}/wide"])
        for attribute in made.attribute:
            _widen_attribute(attribute)
        self._nodes.append(made)
        self._wide[node.output[0]] = made.output[0]

    def _value_by_value(self, node: Any) -> None:
        inputs = [self._wide[name] if name in self._wide else self._widened(name) for name in node.input]
        made = copied(node, inputs=inputs, outputs=[f"{node.output[0]}/wide"])
        self._nodes.append(made)
        self._wide[node.output[0]] = made.output[0]

    def _carries_on(self, node: Any) -> bool:
        if node.op_type not in _VALUE_BY_VALUE or len(node.output) != 1:
            return False
        changing = [name for name in node.input if name and name not in self._graph.constants]
        return bool(changing) and all(name in self._wide for name in changing)

    def _widened(self, name: str) -> str:
        """The constant ``name`` with the new axis; a number has none."""
        array = self._graph.constants.get(name)
        if array is None or array.ndim == 0:
            return name
        self._constants[f"{name}/wide"] = array.reshape(*array.shape[:-1], 1, array.shape[-1])
        return f"{name}/wide"

    def _narrowed(self, name: str) -> None:
        if name in self._wide and name not in self._narrow:
            self._narrow.add(name)
            self._nodes.append(helper.make_node("Squeeze", [self._wide[name], _AXIS], [name], name=name))


def _widen_attribute(attribute: Any) -> None:
    numbers = list(attribute.ints)
    if attribute.name == "pads":
        numbers = [0, numbers[0], 0, numbers[1]]
    elif attribute.name == "output_padding":
        numbers = [0, *numbers]
    elif attribute.name in ("kernel_shape", "strides", "dilations", "output_shape"):
        numbers = [1, *numbers]
    else:
        return
    attribute.ints[:] = numbers


def _slides_over_one(node: Any, shapes: Mapping[str, TensorSpec]) -> bool:
    spec = shapes.get(node.input[0]) if node.op_type in _WINDOWS else None
    return spec is not None and len(spec.shape) == 3 and not any(node.output[1:])


def _drops_the_axis(node: Any, graph: Graph, shapes: Mapping[str, TensorSpec]) -> bool:
    spec = shapes.get(node.input[0]) if node.op_type == "Squeeze" else None
    return spec is not None and len(spec.shape) == 4 and _axes(node, graph) in ([2], [-2])


def _adds_the_axis(node: Any, graph: Graph) -> bool:
    return node.op_type == "Unsqueeze" and _axes(node, graph) in ([2], [-2])


def _axes(node: Any, graph: Graph) -> list[int]:
    if len(node.input) > 1:
        array = graph.constants.get(node.input[1])
        return [] if array is None else [int(axis) for axis in array.reshape(-1)]
    return [int(axis) for axis in attributes(node).get("axes", [])]


WIDEN_WINDOWS = Pass("widen_windows", widen_windows)
