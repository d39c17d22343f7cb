"""What each operator does to channels: one short method for each kind of operator, and the rest are fixed."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from converters.model import Graph, attributes, reads
from converters.prune.spans import Span, Spans, Union, entries
from edge_agent.values import TensorSpec

ELEMENTWISE = frozenset(
    {
        "Relu",
        "Clip",
        "LeakyRelu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Elu",
        "Selu",
        "Celu",
        "Softplus",
        "Softsign",
        "Swish",
        "Mish",
        "Gelu",
        "Erf",
        "Exp",
        "Log",
        "Sqrt",
        "Neg",
        "Abs",
        "Identity",
        "Dropout",
        "Reciprocal",
        "Floor",
        "Ceil",
        "Round",
        "ThresholdedRelu",
    }
)
POOLS = frozenset(["MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool"])
BINARY = frozenset(["Add", "Sub", "Mul", "Div", "Min", "Max", "Pow"])
SPATIAL = frozenset(["Pad", "Resize", "Upsample", "ReduceMean", "ReduceMax", "ReduceSum"])
"""Operators that leave axes 0 and 1 alone as they are mostly used; the shapes tell whether this one does."""
RESHAPES = frozenset(["Flatten", "Reshape", "Squeeze", "Unsqueeze"])


class Reader:
    """Reads nodes in order; ``spans``, ``cuts``, ``layers`` and ``union`` hold what was found. Group numbers are not settled before the
    end."""

    def __init__(self, graph: Graph, shapes: Mapping[str, TensorSpec]) -> None:
        self.graph = graph
        self.shapes = shapes
        self.union = Union()
        self.spans: dict[str, Spans] = {}
        self.cuts: list[tuple[str, int, Spans]] = []
        self.cutters: list[tuple[int, str]] = []
        self.layers: list[tuple[int, Spans, Spans, bool]] = []
        self.reshapes: list[int] = []
        for spec in graph.inputs:
            self.union.fix(self._fresh(spec.name))

    def read(self, index: int, node: Any) -> None:
        """Follows the channels through ``node``; what is not understood fixes every group that it reads or writes."""
        if not self._follow(index, node):
            for name in reads(node):
                self.union.fix(self.spans.get(name))
            for name in node.output:
                self.union.fix(self._fresh(name))

    def _follow(self, index: int, node: Any) -> bool:
        kind = node.op_type
        if node.domain not in ("", "ai.onnx") or not node.input or len([name for name in node.output if name]) != 1:
            return False
        if kind in BINARY:
            return self._binary(index, node)
        if kind == "Concat":
            return self._concat(node)
        if kind == "PRelu":
            return self._per_channel(index, node, node.input[1]) and self._pass_on(node)
        before = self.spans.get(node.input[0])
        if before is None or any(name not in self.graph.constants for name in node.input[1:] if name):
            return False
        if kind in ("Conv", "Gemm", "MatMul"):
            return self._linear(index, node, before)
        if kind == "BatchNormalization":
            return all(self._per_channel(index, node, name, axis=0) for name in node.input[1:]) and self._pass_on(node)
        if kind in ELEMENTWISE:
            return all(self.graph.constants[name].size == 1 for name in node.input[1:] if name) and self._pass_on(node)
        if kind in POOLS:
            return self._pass_on(node)
        return kind in RESHAPES | SPATIAL and self._reshape(index, node, before)

    def _linear(self, index: int, node: Any, before: Spans) -> bool:
        weight = self.graph.constants[node.input[1]]
        rank = len(self.shape(node.input[0]) or ())
        if weight.dtype.kind != "f":
            return False
        if node.op_type == "Conv":
            return weight.ndim == rank and rank in (3, 4) and self._conv(index, node, before, weight)
        options = attributes(node)
        if rank != 2 or weight.ndim != 2 or options.get("transA", 0):
            return False
        out_axis = 0 if options.get("transB", 0) else 1
        return self._dense(index, node, before, weight, out_axis)

    def _conv(self, index: int, node: Any, before: Spans, weight: Any) -> bool:
        group = attributes(node).get("group", 1)
        if group == 1:
            return self._dense(index, node, before, weight, 0)
        inputs = entries(before)
        if group != inputs or weight.shape[1] != 1 or any(span.repeat != 1 for span in before):
            return False
        times = weight.shape[0] // inputs
        after = tuple(Span(span.group, span.channels, times) for span in before)
        self._finish_linear(index, node, before, after, 0, depthwise=True)
        return True

    def _dense(self, index: int, node: Any, before: Spans, weight: Any, out_axis: int) -> bool:
        if entries(before) != weight.shape[1 - out_axis]:
            return False
        after = (Span(self.union.new(), weight.shape[out_axis]),)
        self._cut(index, node.input[1], 1 - out_axis, before)
        self._finish_linear(index, node, before, after, out_axis, depthwise=False)
        return True

    def _finish_linear(self, index: int, node: Any, before: Spans, after: Spans, out_axis: int, *, depthwise: bool) -> None:
        self._cut(index, node.input[1], out_axis, after)
        bias = self.graph.constants[node.input[2]] if len(node.input) > 2 and node.input[2] else None
        if bias is not None and bias.size == entries(after):
            self._cut(index, node.input[2], bias.ndim - 1, after)
        elif bias is not None and bias.size != 1:
            self.union.fix(after)
        self.layers.append((index, before, after, depthwise))
        self.spans[node.output[0]] = after

    def _binary(self, index: int, node: Any) -> bool:
        one, other = node.input[:2] if len(node.input) == 2 else (None, None)
        if one is None or other is None:
            return False
        if one in self.graph.constants or other in self.graph.constants:
            tensor, constant = (other, one) if one in self.graph.constants else (one, other)
            return self._per_channel(index, node, constant, tensor=tensor) and self._pass_on(node, tensor)
        left, right = self.spans.get(one), self.spans.get(other)
        same_rank = len(self.shape(one) or ()) == len(self.shape(other) or ()) >= 2
        if (
            left is None
            or right is None
            or not same_rank
            or [(s.channels, s.repeat) for s in left] != [(s.channels, s.repeat) for s in right]
        ):
            return False
        for mine, yours in zip(left, right, strict=True):
            self.union.join(mine.group, yours.group)
        return self._pass_on(node)

    def _per_channel(self, index: int, node: Any, name: str, *, tensor: str | None = None, axis: int | None = None) -> bool:
        """A constant that is one number, or one number a channel of ``tensor``, or the same for all channels."""
        tensor = node.input[0] if tensor is None else tensor
        shape, spans = self.shape(tensor), self.spans.get(tensor)
        if name not in self.graph.constants or shape is None or spans is None:
            return False
        array = self.graph.constants[name]
        if array.ndim > len(shape):
            return False
        at = array.ndim - (len(shape) - 1) if axis is None else axis
        if array.size > 1 and at >= 0 and array.shape[at] != 1:
            if array.shape[at] != entries(spans):
                return False
            self._cut(index, name, at, spans)
        return True

    def _concat(self, node: Any) -> bool:
        rank = len(self.shape(node.output[0]) or ())
        parts = [self.spans.get(name) for name in node.input]
        if rank < 2 or attributes(node)["axis"] not in (1, 1 - rank) or any(part is None for part in parts):
            return False
        self.spans[node.output[0]] = tuple(span for part in parts for span in part or ())
        return True

    def _reshape(self, index: int, node: Any, before: Spans) -> bool:
        """Axes 0 and 1 stay, or everything behind axis 0 becomes one axis of features: told by the shapes."""
        old, new = (_known(self.shape(name)) for name in (node.input[0], node.output[0]))
        if not old or not new or len(old) < 2 or len(new) < 2 or old[0] != new[0]:
            return False
        if node.op_type == "Reshape":
            self.reshapes.append(index)
        if old[1] == new[1] and (node.op_type in SPATIAL or prod(old[2:]) == prod(new[2:])):
            return self._channels_untouched(node) and self._pass_on(node)
        if node.op_type in SPATIAL or len(new) != 2 or new[1] != prod(old[1:]):
            return False
        times = prod(old[2:])
        self.spans[node.output[0]] = tuple(Span(span.group, span.channels, span.repeat * times) for span in before)
        return True

    def _channels_untouched(self, node: Any) -> bool:
        """Whether a spatial operator really leaves each channel to itself: equal lengths do not say so of a Pad or a Resize."""
        axes = attributes(node).get("axes")
        rank = len(self.shape(node.input[0]) or ())
        if node.op_type.startswith("Reduce"):
            listed = list(axes or []) or [int(a) for name in node.input[1:2] for a in self.graph.constants[name].reshape(-1)]
            return bool(listed) and all(axis % rank >= 2 for axis in listed)
        if node.op_type == "Pad":
            pads = attributes(node).get("pads") or [int(v) for v in self.graph.constants[node.input[1]].reshape(-1)]
            return len(pads) == 2 * rank and not any(pads[i] for i in (0, 1, rank, rank + 1))
        if node.op_type == "Resize":
            return axes is None and all(self.graph.constants[name].size == 0 for name in node.input[3:4])
        return True

    def _pass_on(self, node: Any, tensor: str | None = None) -> bool:
        spans = self.spans.get(node.input[0] if tensor is None else tensor)
        shape = self.shape(node.output[0])
        if spans is None or shape is None or len(shape) < 2 or shape[1] != entries(spans):
            return False
        self.spans[node.output[0]] = spans
        return True

    def _cut(self, index: int, name: str, axis: int, spans: Spans) -> None:
        self.cuts.append((name, axis, spans))
        self.cutters.append((index, name))

    def _fresh(self, name: str) -> Spans | None:
        shape = self.shape(name)
        if not name or shape is None or len(shape) < 2 or not shape[1]:
            return None
        self.spans[name] = (Span(self.union.new(), shape[1]),)
        return self.spans[name]

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        known = self.shapes.get(name)
        return None if known is None else known.shape


def _form(spans: Spans) -> list[tuple[int, int]]:
    return [(span.channels, span.repeat) for span in spans]


def _known(shape: tuple[int | None, ...] | None) -> tuple[int, ...]:
    """``shape`` where every size is known, else nothing."""
    return tuple(size for size in shape if size is not None) if shape and None not in shape else ()
