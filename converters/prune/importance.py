"""In which order a group's channels are best taken out, and what each costs the layers that read them.

Optimal Brain Surgeon for whole channels: with the second moments H of a consumer's inputs, leaving out the inputs c and refitting the
others
by least squares adds trace(W_c' inv(inv(H)_cc) W_c) to its squared error (Hassibi and Stork, 1993; for structures: ZipLM, arXiv
2302.04089).
Channels go one by one, the cheapest first; each goes with an update of the weights that stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.model import Graph, attributes
from converters.prune.groups import Groups
from converters.prune.observe import Seen
from converters.prune.spans import channel_rows

DAMPING = 1e-3
"""Of the second moments, as a share of their mean diagonal."""
MAX_VALUES = 1e8
"""Entries of inverses that are gone through for one consumer; where its channels are too many for that, several go at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """``order``: channels, the first to go first (the last one never goes). ``loss[n]``: squared error of the layers that read the group
    relative to their outputs' variance, summed over them, when n channels are gone."""

    group: int
    order: Any
    loss: Any


@dataclass(slots=True, eq=False)
class Consumer:
    """A layer while its inputs go. ``weight`` (rows left, outputs) float64, ``inverse`` of its moments, ``left``: which of the inputs and
    the bias these rows are, ``columns`` (channels, taps): where among them the group's channels are, ``scale`` one over its outputs'
    variance."""

    index: int
    weight: Any
    inverse: Any
    left: Any
    columns: Any
    scale: float

    def whole(self, inputs: int) -> Any:
        """The weights float32 (``inputs`` + 1, outputs), zeros where inputs have gone."""
        made = np.zeros((inputs + 1, self.weight.shape[1]), np.float32)
        made[self.left] = self.weight
        return made


def rank(graph: Graph, groups: Groups, seen: Mapping[int, Seen], group: int, levels: Sequence[int]) -> tuple[Ranking, dict[int, Any]]:
    """The ranking of ``group``; for each of ``levels`` (channels gone) the new weights of its consumers by node index. Without a reader,
    or with one too wide for moments, the losses are one entry long: nothing is known."""
    readers = [one for one in seen.values() if not one.layer.depthwise and any(span.group == group for span in one.layer.inputs)]
    known = readers and all(one.moments is not None for one in readers)
    consumers = [_consumer(graph, one, group) for one in readers] if known else []
    counts = [len(one.weight) - 1 for one in consumers]
    size = groups.sizes[group]
    left, loss = list(range(size)), [0.0]
    order: list[int] = []
    snapshots: dict[int, Any] = {}
    at_once = max([1, *(int(size * float(count) ** 2 / 3 / MAX_VALUES) for count in counts)])
    while len(left) > 1 and consumers:
        costs = np.sum([_costs(one, left) for one in consumers], axis=0)
        until = min([level for level in levels if level > len(order)], default=size - 1) - len(order)
        chosen = np.argsort(costs, kind="stable")[: min(at_once, until)]
        gone = [left[at] for at in chosen]
        loss.extend(loss[-1] + np.cumsum(np.maximum(costs[chosen], 0.0)))
        order.extend(gone)
        left = [channel for channel in left if channel not in gone]
        for one in consumers:
            _remove(one, gone)
        if len(order) in levels:
            snapshots[len(order)] = {one.index: one.whole(inputs) for one, inputs in zip(consumers, counts, strict=True)}
    return Ranking(group, np.array(order + left), np.array(loss)), snapshots


def matrix(graph: Graph, node: Any) -> Any:
    """The layer as a matrix float64 (inputs + 1, outputs), channel by channel as ``with_one`` lays out its rows; the bias is the last
    row."""
    weight = graph.constants[node.input[1]].astype(np.float64)
    if node.op_type == "Conv":
        flat = weight.reshape(weight.shape[0], -1).T
    else:
        options = attributes(node)
        flat = (weight.T if options.get("transB", 0) else weight) * options.get("alpha", 1.0)
    bias = np.zeros(flat.shape[1])
    if len(node.input) > 2 and node.input[2]:
        bias = bias + graph.constants[node.input[2]].astype(np.float64).reshape(-1) * attributes(node).get("beta", 1.0)
    return np.concatenate([flat, bias[None]])


def _consumer(graph: Graph, seen: Seen, group: int) -> Consumer:
    second = seen.moments.astype(np.float64)
    second[np.diag_indices_from(second)] += DAMPING * np.trace(second) / len(second) + 1e-12
    weight = matrix(graph, graph.nodes[seen.layer.index])
    taps = (len(weight) - 1) // sum(span.entries for span in seen.layer.inputs)
    channels = np.concatenate([rows for owner, rows in channel_rows(seen.layer.inputs) if owner == group], axis=1)
    columns = (channels[:, :, None] * taps + np.arange(taps)).reshape(len(channels), -1)
    variance = float(seen.target.var(axis=0, dtype=np.float64).sum())
    return Consumer(seen.layer.index, weight, np.linalg.inv(second), np.arange(len(weight)), columns, 1.0 / max(variance, 1e-12))


def _costs(one: Consumer, left: Sequence[int]) -> Any:
    columns = one.columns[left]
    blocks = one.inverse[columns[:, :, None], columns[:, None, :]]
    weights = one.weight[columns]
    return one.scale * np.einsum("cko,cko->c", weights, np.linalg.solve(blocks, weights))


def _remove(one: Consumer, channels: Sequence[int]) -> None:
    """Takes the rows of ``channels`` out, so that each time is cheaper than the one before."""
    columns = one.columns[channels].reshape(-1)
    stays = np.ones(len(one.left), bool)
    stays[columns] = False
    side = one.inverse[stays][:, columns]
    block = np.linalg.inv(one.inverse[np.ix_(columns, columns)])
    one.weight = one.weight[stays] - side @ (block @ one.weight[columns])
    inverse = one.inverse[np.ix_(stays, stays)]
    inverse -= side @ (block @ side.T)
    one.inverse = inverse
    one.left = one.left[stays]
    one.columns = (np.cumsum(stays) - 1)[one.columns]
