"""Gradient steps of a graph towards wanted outputs: Adam in numpy (arXiv 1412.6980), with a warm start and a rate that falls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from converters.model import Graph
from converters.prune.cost import Cost
from converters.prune.tape import forward

BATCH = 32
RATE = 3e-3
WARM_STEPS = 50
PART_BYTES = 4 << 20
"""Of the values of a part of a batch: what stays near the processor is worked on at several times the speed."""


def learn(
    graph: Graph, spent: Cost, shown: Any, answers: Any, steps: int, draw: np.random.Generator, *, enough: Callable[[], bool]
) -> Graph:
    """``graph`` after ``steps`` steps on the squared difference of its outputs from ``answers`` (float32, rows) to ``shown`` (float32,
    channels last). ``enough`` ends it before, with the weights as they are by then."""
    names = sorted({name for node in graph.nodes if node.op_type in ("Conv", "Gemm") for name in node.input[1:] if name})
    sizes = [graph.constants[name].size for name in names]
    edges = np.cumsum([0, *sizes])
    held = np.concatenate([graph.constants[name].reshape(-1) for name in names]).astype(np.float32)
    views = {name: held[a:b].reshape(graph.constants[name].shape) for name, a, b in zip(names, edges, edges[1:], strict=False)}
    scale = np.float32(2 / (max(float(answers.var(axis=0).mean()), 1e-12) * answers.shape[1] * BATCH))
    part = part_of(graph, spent)
    first, second = np.zeros_like(held), np.zeros_like(held)
    for index in range(1, steps + 1):
        chosen = draw.integers(0, len(shown), BATCH)
        gradient = np.zeros_like(held)
        for start in range(0, BATCH, part):
            rows = chosen[start : start + part]
            gradient += _flat(gradients(graph, views, shown[rows], partial(_slope, answers[rows], scale)), views)
        rate = RATE * 0.5 * (1 + np.cos(np.pi * index / steps)) * min(1.0, index / WARM_STEPS)
        first += 0.1 * (gradient - first)
        second += 0.001 * (gradient * gradient - second)
        held -= (rate / (1 - 0.9**index)) * first / (np.sqrt(second / (1 - 0.999**index)) + 1e-8)
        if enough():
            break
    return graph.edited(graph.nodes, {name: view.copy() for name, view in views.items()})


def part_of(graph: Graph, spent: Cost) -> int:
    """How many samples are worked on at once."""
    values = max((4 * node.moved + 4 * _patch_values(graph, index, node) for index, node in enumerate(spent.by_node)), default=1)
    return int(np.clip(PART_BYTES // values, 1, BATCH))


def gradients(graph: Graph, weights: Mapping[str, Any], batch: Any, slope: Callable[[Any], Any]) -> dict[str, Any]:
    """Of what has the ``slope`` at the outputs for ``batch``, by the name of the weights."""
    given = graph.inputs[0].name
    values = {given: batch, "": None}
    backs = []
    for node in graph.nodes:
        inputs = [values[name] if name in values else weights.get(name, graph.constants.get(name)) for name in node.input]
        values[node.output[0]], back = forward(node, inputs, inner=node.input[0] != given)
        backs.append(back)
    output = graph.outputs[0].name
    pending = {output: slope(values[output])}
    for node, back in zip(reversed(graph.nodes), reversed(backs), strict=True):
        gradient = pending.pop(node.output[0], None)
        if gradient is None:
            continue
        for name, part in zip(node.input, back(gradient), strict=False):
            if part is not None and (name in weights or name in values):
                pending[name] = pending[name] + part if name in pending else part
    return {name: pending[name] for name in weights if name in pending}


def _slope(wanted: Any, scale: Any, made: Any) -> Any:
    return (made - wanted) * scale


def _flat(found: Mapping[str, Any], views: Mapping[str, Any]) -> Any:
    """In one row, in the order of ``views``; zeros for what nothing depends on."""
    return np.concatenate([found[name].reshape(-1) if name in found else np.zeros(view.size, np.float32) for name, view in views.items()])


def _patch_values(graph: Graph, index: int, node: Any) -> int:
    """Entries of the matrix that a convolution of one group is done with."""
    weight = graph.constants.get(graph.nodes[index].input[1]) if node.op == "Conv" else None
    return 0 if weight is None else int(node.macs // max(len(weight), 1))
