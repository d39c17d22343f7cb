"""Which channels of a network can be scaled together without changing what it computes.

A rectifier, a pool or a sum gives a scaled answer to a scaled question, so a factor for each channel put into the layer that writes a
tensor can be taken out again in the layers that read it. A :class:`ChannelGroup` is a set of tensors that must share their factors: they
are found by union-find over the operators that are positively homogeneous in each channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from converters.model import ONNX_DOMAINS, Graph, attributes, reads
from converters.passes.linear import LINEAR_OPS, linear_weights
from converters.shapes import infer_shapes
from edge_agent.values import TensorSpec

ELEMENTWISE = ("Relu", "LeakyRelu", "Identity", "Dropout", "Abs")
POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool")
JOINS = ("Add", "Sub", "Sum", "Max", "Min")
RESHAPES = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
REDUCTIONS = ("ReduceMean", "ReduceMax", "ReduceSum")
_UNBOUNDED = 3.4e38

Shapes = Mapping[str, TensorSpec]


@dataclass(frozen=True, slots=True, eq=False)
class ChannelGroup:
    """``writers`` give tensors of ``channels`` channels, ``readers`` take them, perhaps flattened: then each channel is a run of columns.
    Nothing else writes or reads any of ``tensors``."""

    channels: int
    tensors: tuple[str, ...]
    writers: tuple[Any, ...]
    readers: tuple[Any, ...]


def channel_groups(graph: Graph) -> tuple[ChannelGroup, ...]:
    """Every group whose channels may be scaled freely, in the order of the nodes."""
    shapes = infer_shapes(graph)
    parents = {name: name for node in graph.nodes for name in (*node.input, *node.output) if name}
    linked = {id(node): tensors for node in graph.nodes if (tensors := linked_tensors(node, graph, shapes))}
    for first, *others in linked.values():
        for other in others:
            parents[_root(parents, other)] = _root(parents, first)
    members: dict[str, list[str]] = {}
    for node in graph.nodes:
        for name in node.output:
            if name:
                members.setdefault(_root(parents, name), []).append(name)
    fixed = graph.output_names() | {spec.name for spec in graph.inputs} | set(graph.constants)
    roots_fixed = {_root(parents, name) for name in fixed if name in parents}
    touching: dict[str, list[Any]] = {}
    for node in graph.nodes:
        for name in {*reads(node), *node.output} if id(node) not in linked else ():
            touching.setdefault(name, []).append(node)
    groups = (_group(graph, names, touching, shapes) for root, names in members.items() if root not in roots_fixed)
    return tuple(group for group in groups if group is not None)


def linked_tensors(node: Any, graph: Graph, shapes: Shapes) -> tuple[str, ...]:
    """The tensors whose channels ``node`` ties together; none when it is not homogeneous channel by channel."""
    if node.domain not in ONNX_DOMAINS or any(node.output[1:]) or any(name not in shapes for name in (node.input[:1] or [""])):
        return ()
    changing = tuple(name for name in node.input if name and name not in graph.constants)
    result = shapes.get(node.output[0])
    if not changing or result is None or any(name not in shapes for name in changing):
        return ()
    before, after = shapes[changing[0]].shape, result.shape
    if len(before) < 2 or len(after) < 2 or None in (*before, *after):
        return ()
    if node.op_type in JOINS:
        same = all(len(shapes[name].shape) == len(after) and shapes[name].shape[1] == after[1] for name in changing)
        return (*changing, node.output[0]) if same and len(changing) == len(node.input) else ()
    return (changing[0], node.output[0]) if len(changing) == 1 and _homogeneous(node, graph, before, after) else ()


def _homogeneous(node: Any, graph: Graph, before: tuple[Any, ...], after: tuple[Any, ...]) -> bool:
    """Whether a node with one changing input of shape ``before`` answers c times its input with c times its output, for c > 0."""
    op = node.op_type
    if op in RESHAPES:
        return before[0] == after[0] and (before[1] == after[1] or len(after) == 2)
    if before[:2] != after[:2]:
        return False
    if op in ELEMENTWISE or op in POOLS:
        return True
    if op in REDUCTIONS:
        given = attributes(node).get("axes", graph.constants.get(node.input[1]) if len(node.input) > 1 else None)
        return given is not None and all(int(axis) % len(before) >= 2 for axis in given)
    if op in ("Mul", "PRelu"):
        return before == after
    if op == "Div":
        return before == after and node.input[1] in graph.constants
    if op == "Clip":
        low, high = (_number(graph, node, place, default) for place, default in ((1, -_UNBOUNDED), (2, _UNBOUNDED)))
        return low in (0.0, -_UNBOUNDED) and high is not None and high >= _UNBOUNDED
    return bool(op == "Pad" and attributes(node).get("mode", b"constant") == b"constant" and _number(graph, node, 2, 0.0) == 0.0)


def _number(graph: Graph, node: Any, place: int, default: float) -> float | None:
    """The constant at input ``place``, ``default`` when there is none, ``None`` when it is not one known number."""
    if len(node.input) <= place or not node.input[place]:
        return default
    array = graph.constants.get(node.input[place])
    return float(array.reshape(())) if array is not None and array.size == 1 else None


def _group(graph: Graph, names: list[str], touching: Mapping[str, list[Any]], shapes: Shapes) -> ChannelGroup | None:
    """The group of tensors ``names``; ``None`` when something that cannot be scaled is ``touching`` one of them."""
    held = set(names)
    if any(name not in shapes or len(shapes[name].shape) < 2 for name in names):
        return None
    writers, readers = {}, {}
    for node in (node for name in names for node in touching.get(name, ())):
        takes = held & reads(node)
        if not _scalable(node, graph) or takes - {node.input[0]}:
            return None
        if held.intersection(node.output):
            writers[id(node)] = node
        if takes:
            readers[id(node)] = node
    sizes = [shapes[name].shape[1] for name in names]
    channels = min(size or 0 for size in sizes)
    if not writers or not readers or not channels or any(size is None or size % channels for size in sizes):
        return None
    if any(shapes[node.output[0]].shape[1] != channels for node in writers.values()):
        return None
    return ChannelGroup(channels, tuple(names), tuple(writers.values()), tuple(readers.values()))


def _scalable(node: Any, graph: Graph) -> bool:
    """Whether a node is a layer with constant weights, of a type with room for large factors."""
    if node.op_type not in LINEAR_OPS or node.domain not in ONNX_DOMAINS:
        return False
    linear = linear_weights(node, graph.constants)
    return linear is not None and linear.weight.dtype.itemsize >= 4


def _root(parents: dict[str, str], name: str) -> str:
    while parents[name] != name:
        parents[name] = parents[parents[name]]
        name = parents[name]
    return name
