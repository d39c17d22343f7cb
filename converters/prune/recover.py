"""A narrowed network gets new weights, layer by layer: each layer is fitted to what the original wrote, from what the narrowed one now
reads.

Closed form, no labels, no gradients. Later layers see, and make up for, the errors of the earlier ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import helper

from converters.model import Graph, copied
from converters.prune.fit import fit, fit_channels
from converters.prune.groups import Groups
from converters.prune.importance import matrix
from converters.prune.observe import Seen, flat_outputs, layer_rows, row_mask, with_one
from converters.prune.rows import MAX_INPUTS, output_rows
from converters.prune.spans import kept_entries
from converters.prune.walk import Walk
from edge_agent.errors import ModelError


def recover(
    graph: Graph,
    groups: Groups,
    seen: Mapping[int, Seen],
    keep: Mapping[int, Any],
    feeds: Sequence[Mapping[str, Any]],
    held_out: Any,
    enough: Callable[[], bool] | None = None,
) -> tuple[Graph, list[Any]]:
    """``graph``, which was narrowed to ``keep``, with fitted weights, and its outputs for each of ``feeds`` (those of ``observe``).

    ``held_out``: bool, one a sample; those only choose how far weights may move. Layers before the first narrowed one stay as they are.
    Raises :class:`ModelError` when there has been ``enough`` before the last layer.
    """
    walk = Walk(graph, feeds, groups.shapes)
    nodes, constants = list(graph.nodes), dict(graph.constants)
    touched = False
    for index in sorted(seen):
        one = seen[index]
        touched = touched or any(span.group in keep for span in (*one.layer.inputs, *one.layer.outputs))
        if not touched:
            continue
        if enough is not None and enough():
            raise ModelError("time was up before all layers of the narrowed network had been fitted")
        node = nodes[index]
        held = walk.to(index)
        made = _fitted(graph, one, keep, node, held, held_out)
        nodes[index], arrays = _written(node, graph.constants[node.input[1]], made, one.layer.depthwise)
        constants.update(arrays)
        walk.exchange(index, nodes[index], arrays)
    return graph.edited(nodes, constants), flat_outputs(graph, walk.end())


def _fitted(graph: Graph, one: Seen, keep: Mapping[int, Any], node: Any, held: Mapping[str, list[Any]], held_out: Any) -> Any:
    """The layer's new matrix, float64 (inputs + 1, outputs); for a depthwise one (channels, taps + 1)."""
    target = one.target[:, kept_entries(one.layer.outputs, keep)]
    low, high = np.float32(one.low), np.float32(one.high)
    if one.partner:
        theirs = output_rows(held[one.partner], one.at)
        target, low, high = target - theirs, low - theirs, high - theirs
    start = matrix(graph, node)
    if not one.layer.depthwise and len(start) > MAX_INPUTS + 1:
        return start
    rows = layer_rows(one, held[node.input[0]])
    if one.layer.depthwise:
        times = target.shape[1] // rows.shape[1]
        rows = np.concatenate([np.repeat(rows, times, axis=1), np.ones((len(rows), target.shape[1], 1), np.float32)], axis=2)
        return fit_channels(rows, target, start.T, low, high)
    return fit(with_one(rows), target, start, row_mask(held_out, one.at), low, high)


def _written(node: Any, weight: Any, made: Any, depthwise: bool) -> tuple[Any, dict[str, Any]]:
    """The node and the constants that hold ``made``, under names of their own."""
    matrix_ = made.T if depthwise else made
    kernel, bias = matrix_[:-1], matrix_[-1]
    names = [f"{node.output[0]}_fitted_weight", f"{node.output[0]}_fitted_bias"]
    if node.op_type == "Conv":
        arrays = (kernel.T.reshape(weight.shape), bias)
        changed = copied(node, inputs=[node.input[0], *names])
    else:
        arrays = (kernel, bias)
        changed = helper.make_node("Gemm", [node.input[0], *names], list(node.output), name=node.name)
    return changed, {name: np.ascontiguousarray(array, np.float32) for name, array in zip(names, arrays, strict=True)}
