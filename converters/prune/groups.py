"""The channel groups of a graph: which output channels of which layers are one decision, and what is cut when a channel goes.

A residual Add joins the groups of its sides, a depthwise convolution passes its input's group on, Concat lays groups side by side, Flatten
gives every channel a stretch of features. What is not understood fixes the groups it touches, and so do the model's inputs and outputs.
Same idea as the dependency graph of Torch-Pruning (arXiv 2301.12900) and SPA (arXiv 2403.18955), on ONNX's own nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from converters.model import Graph
from converters.prune.rules import Reader
from converters.prune.spans import Spans
from converters.shapes import infer_shapes
from edge_agent.values import TensorSpec


@dataclass(frozen=True, slots=True)
class Cut:
    """The constant ``name`` loses entries of ``axis`` as ``spans`` lose channels."""

    name: str
    axis: int
    spans: Spans


@dataclass(frozen=True, slots=True)
class Layer:
    """A Conv or Gemm with constant weights: node ``index``, the channels it reads and writes. ``depthwise``: it has one filter a channel
    and
    decides nothing of its own; its ``inputs`` and ``outputs`` are the same group."""

    index: int
    inputs: Spans
    outputs: Spans
    depthwise: bool


@dataclass(frozen=True, slots=True)
class Groups:
    """``sizes``: channels of each group that may lose some; ``cuts`` of all constants; ``layers`` in the graph's order; ``spans`` of the
    tensors whose channels are known; ``reshapes``: nodes whose target shape must not name the channels."""

    sizes: Mapping[int, int]
    cuts: tuple[Cut, ...]
    layers: tuple[Layer, ...]
    spans: Mapping[str, Spans]
    reshapes: tuple[int, ...]
    shapes: Mapping[str, TensorSpec]


def channel_groups(graph: Graph) -> Groups:
    """The groups of ``graph``, whose batch size and shapes are fixed. Runs shape inference, which is native code."""
    shapes = infer_shapes(graph)
    reader = Reader(graph, shapes)
    for index, node in enumerate(graph.nodes):
        reader.read(index, node)
    for spec in graph.outputs:
        reader.union.fix(reader.spans.get(spec.name))
    _fix_disputed(reader)
    union, fixed = reader.union, reader.union.fixed()
    spans = {name: union.settled(found) for name, found in reader.spans.items()}
    layers = tuple(
        Layer(index, union.settled(before), union.settled(after), depthwise) for index, before, after, depthwise in reader.layers
    )
    sizes = {span.group: span.channels for layer in layers for span in layer.outputs if span.group not in fixed and span.channels > 1}
    cuts = tuple(dict.fromkeys(Cut(name, axis, union.settled(found)) for name, axis, found in reader.cuts))
    return Groups(dict(sorted(sizes.items())), cuts, layers, spans, tuple(reader.reshapes), shapes)


def _fix_disputed(reader: Reader) -> None:
    """A constant that two nodes read must lose the same entries for both, or none; one that is read in another way too, none."""
    seen: dict[tuple[str, int], Spans] = {}
    readings: dict[str, int] = {}
    cutters: dict[str, set[int]] = {}
    for name, axis, spans in reader.cuts:
        first = seen.setdefault((name, axis), spans)
        if reader.union.settled(first) != reader.union.settled(spans):
            reader.union.fix((*first, *spans))
    for index, name in reader.cutters:
        cutters.setdefault(name, set()).add(index)
    for node in reader.graph.nodes:
        for name in set(node.input):
            readings[name] = readings.get(name, 0) + 1
    for (name, _), spans in seen.items():
        if readings.get(name, 0) != len(cutters.get(name, ())):
            reader.union.fix(spans)
