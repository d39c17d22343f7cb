"""Which operators of a network ONNX Runtime can compute in integers, and on which scale each tensor between them is.

A layer (Conv, Gemm, MatMul) is worth an integer kernel wherever it stands. What joins or moves values follows: it is computed in integers
where what it reads is integer already. Everything else, known or not, is computed in float.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from converters.calibrate.ranges import Range
from converters.model import ONNX_DOMAINS, Graph, attributes
from converters.passes.linear import linear_weights
from converters.targets.onnx_gates import gate_terms
from converters.targets.scales import Scale
from converters.targets.weighty import weight_axis

JOINING = ("Add", "Mul", "AveragePool", "GlobalAveragePool", "Concat", "HardSigmoid", "Sigmoid", "LeakyRelu")
"""Operators with integer kernels of their own."""
MOVING = (
    *("Expand", "Flatten", "Gather", "MaxPool", "Pad", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
)
"""Operators that take their first input's values, or means of neighbours: the output is on the input's scale."""
_TAKES_SUMS = ("ArgMax", "Gemm", "LogSoftmax", "MatMul", "Softmax", "TopK")
"""Readers that leave a dense layer before them as it is; with others ONNX Runtime may fuse it to something that has no integer kernel."""
_RESIZING = (b"nearest", b"linear")


@dataclass(frozen=True, slots=True)
class Plan:
    """By first-output name: ``layers``, ``joins`` and ``moves`` are computed in integers, ``results`` says which tensor each of them
    leaves, ``absorbed`` are the rectifiers that go into the one before them. ``coded`` are the tensors that exist as codes at first, and
    ``scales`` has those of all that are ever coded."""

    layers: frozenset[str]
    joins: frozenset[str]
    moves: frozenset[str]
    absorbed: frozenset[str]
    results: Mapping[str, str]
    coded: frozenset[str]
    scales: Mapping[str, Scale]


def plan(graph: Graph, ranges: Mapping[str, Range], choose: Callable[[Range], Scale], keep_float: frozenset[str]) -> Plan:
    """``choose`` makes a scale of a calibrated extent; nodes whose first output is in ``keep_float`` are computed in float."""
    return _Planner(graph, ranges, choose, keep_float).plan()


class _Planner:
    def __init__(self, graph: Graph, ranges: Mapping[str, Range], choose: Callable[[Range], Scale], keep_float: frozenset[str]) -> None:
        self._graph, self._ranges, self._choose, self._keep_float = graph, ranges, choose, keep_float
        self._consumers = graph.consumers()
        self._shown = graph.output_names()
        self._layers: set[str] = set()
        self._joins: set[str] = set()
        self._moves: set[str] = set()
        self._absorbed: set[str] = set()
        self._results: dict[str, str] = {}
        self._coded: set[str] = set()
        self._scales: dict[str, Scale] = {}

    def plan(self) -> Plan:
        for node in self._graph.nodes:
            name = node.output[0]
            if name in self._keep_float or name in self._absorbed or node.domain not in ONNX_DOMAINS:
                continue
            if self._is_layer(node):
                self._add_layer(node)
            elif node.op_type in JOINING and self._joins_codes(node):
                self._joins.add(name)
                self._leave(node, code=True)
            elif node.op_type in MOVING and self._moves_codes(node):
                self._moves.add(name)
                for output in filter(None, node.output):
                    self._scales[output] = self._scales[node.input[0]]
                    self._coded.add(output)
        return Plan(
            frozenset(self._layers),
            frozenset(self._joins),
            frozenset(self._moves),
            frozenset(self._absorbed),
            self._results,
            frozenset(self._coded),
            self._scales,
        )

    def _is_layer(self, node: Any) -> bool:
        if node.op_type in ("Conv", "Gemm"):
            able = linear_weights(node, self._graph.constants) is not None
            return able and node.input[0] in self._ranges and (node.op_type == "Gemm" or self._result(node) in self._ranges)
        if node.op_type != "MatMul" or node.input[0] not in self._ranges:
            return False
        return node.input[1] in self._ranges or weight_axis(node, self._graph.constants) is not None

    def _add_layer(self, node: Any) -> None:
        """A convolution has an integer kernel only when it gives codes. The others give their float sum just as well: that is taken
        unless another layer will read codes of it, one rounding less at no cost."""
        self._layers.add(node.output[0])
        for name in node.input[: 2 if node.op_type == "MatMul" else 1]:
            if name in self._ranges:
                self._scales.setdefault(name, self._choose(self._ranges[name]))
        gives_codes = node.op_type == "Conv" or (node.op_type == "Gemm" and not self._gives_sum(node))
        self._leave(node, code=gives_codes and self._result(node) in self._ranges)

    def _leave(self, node: Any, *, code: bool) -> None:
        result = self._result(node) if code else node.output[0]
        self._results[node.output[0]] = result
        if code:
            self._coded.add(result)
            self._scales[result] = self._choose(self._ranges[result])
            if result != node.output[0]:
                self._absorbed.add(result)

    def _joins_codes(self, node: Any) -> bool:
        changing = [name for name in node.input if name not in self._graph.constants]
        numbers = [self._graph.constants[name] for name in node.input if name in self._graph.constants]
        if node.op_type not in ("Add", "Mul") and numbers:
            return False
        if node.op_type == "HardSigmoid" and gate_terms(node)[0] <= 0:
            return False
        return bool(changing) and self._coded.issuperset(changing) and self._result(node) in self._ranges

    def _moves_codes(self, node: Any) -> bool:
        if node.input[0] not in self._coded or (node.op_type == "MaxPool" and any(node.output[1:])):
            return False
        if node.op_type == "Resize":
            options = attributes(node)
            return options.get("mode", b"nearest") in _RESIZING and options.get("coordinate_transformation_mode") != b"tf_crop_and_resize"
        return node.op_type != "Pad" or len(node.input) < 3 or not node.input[2] or node.input[2] in self._graph.constants

    def _gives_sum(self, node: Any) -> bool:
        readers = self._consumers.get(node.output[0], [])
        return all(reader.op_type in (*_TAKES_SUMS, *MOVING) for reader in readers) and not self._leads_to_layer(node.output[0])

    def _leads_to_layer(self, name: str) -> bool:
        waiting, seen = [name], {name}
        while waiting:
            for node in self._consumers.get(waiting.pop(), ()):
                if node.output[0] in self._keep_float:
                    continue
                if self._is_layer(node):
                    return True
                if node.op_type in (*JOINING, *MOVING) and node.output[0] not in seen:
                    seen.add(node.output[0])
                    waiting.append(node.output[0])
        return False

    def _result(self, node: Any) -> str:
        """The tensor to code after ``node``: what a rectifier right behind it gives, since the limits of the codes do its work."""
        name = str(node.output[0])
        if node.op_type == "HardSigmoid":
            return name
        after = self._consumers.get(name, [])
        if len(after) == 1 and name not in self._shown and after[0].output[0] in self._ranges and self._is_limit(after[0], name):
            return str(after[0].output[0])
        return name

    def _is_limit(self, node: Any, name: str) -> bool:
        """Whether ``node`` only cuts values off at ends that enclose zero, as every scale does."""
        if node.op_type == "Relu":
            return True
        if node.op_type != "Clip" or node.input[0] != name:
            return False
        ends = [self._graph.constants.get(end) if end else None for end in (*node.input[1:3], "", "")[:2]]
        if any(end is None for end, given in zip(ends, (*node.input[1:3], "", "")[:2], strict=True) if given):
            return False
        low, high = ends
        return (low is None or float(low.reshape(())) <= 0) and (high is None or float(high.reshape(())) >= 0)
