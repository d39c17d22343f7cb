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


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """``order``: channels, the first to go first (the last one never goes). ``loss[n]``: squared error of the layers that read the group
    relative to their outputs' variance, summed over them, when n channels are gone."""

    group: int
    order: Any
    loss: Any


@dataclass(slots=True, eq=False)
class Consumer:
    """A layer while its inputs go. ``weight`` (inputs + 1, outputs) float64, ``inverse`` of its moments, ``columns`` (channels, taps) of
    the
    group, ``scale`` one over its outputs' variance."""

    index: int
    weight: Any
    inverse: Any
    columns: Any
    scale: float


def rank(graph: Graph, groups: Groups, seen: Mapping[int, Seen], group: int, levels: Sequence[int]) -> tuple[Ranking, dict[int, Any]]:
    """The ranking of ``group``; for each of ``levels`` (channels gone) the new weights of its consumers by node index."""
    readers = [one for one in seen.values() if one.moments is not None and any(span.group == group for span in one.layer.inputs)]
    consumers = [_consumer(graph, one, group) for one in readers]
    size = groups.sizes[group]
    left, order, loss, snapshots = list(range(size)), [], [0.0], {}
    while len(left) > 1 and consumers:
        costs = np.sum([_costs(one, left) for one in consumers], axis=0)
        gone = int(np.argmin(costs))
        loss.append(loss[-1] + max(float(costs[gone]), 0.0))
        order.append(left.pop(gone))
        for one in consumers:
            _remove(one, order[-1])
        if len(order) in levels:
            snapshots[len(order)] = {one.index: one.weight.astype(np.float32) for one in consumers}
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
    return Consumer(seen.layer.index, weight, np.linalg.inv(second), columns, 1.0 / max(variance, 1e-12))


def _costs(one: Consumer, left: Sequence[int]) -> Any:
    columns = one.columns[left]
    blocks = one.inverse[columns[:, :, None], columns[:, None, :]]
    weights = one.weight[columns]
    return one.scale * np.einsum("cko,cko->c", weights, np.linalg.solve(blocks, weights))


def _remove(one: Consumer, channel: int) -> None:
    columns = one.columns[channel]
    side = one.inverse[:, columns]
    block = np.linalg.inv(one.inverse[np.ix_(columns, columns)])
    one.weight -= side @ (block @ one.weight[columns])
    one.inverse -= side @ (block @ side.T)
    one.weight[columns] = 0.0
    one.inverse[columns] = one.inverse[:, columns] = 0.0
