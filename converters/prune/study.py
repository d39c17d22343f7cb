"""What is learnt of a network once, before any target: its groups, what its layers wrote, in which order channels go, what that costs at
the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from onnx import helper

from converters.model import Graph, copied
from converters.prune.allocate import Sensitivity, levels, sensitivity
from converters.prune.budget import Budget
from converters.prune.cost import cost
from converters.prune.groups import Groups, channel_groups
from converters.prune.importance import Ranking, rank
from converters.prune.observe import Seen, flat_outputs, observe
from converters.prune.walk import opened
from edge_agent.errors import ModelError

PROBES = 32
"""Samples at most that sensitivities are measured on, of those that nothing was fitted to: with few samples a dense layer fits them all."""
MIN_PROBES = 2
PROBE_MACS = 40e9
"""Spent on sensitivities at most where that leaves ``MIN_PROBES``: large networks are probed with fewer samples, then at half of each
group alone."""
STUDY_PART = 0.6
"""Of the time, after which what is not known by then is not asked for any more."""


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """``outputs``: float64 (samples, entries) of the original. ``held_out``: bool, one a sample, those that no weight is fitted to."""

    graph: Graph
    groups: Groups
    feeds: Sequence[Mapping[str, Any]]
    held_out: Any
    seen: Mapping[int, Seen]
    outputs: Any
    rankings: Mapping[int, Ranking]
    sensitivities: tuple[Sensitivity, ...]


def study(graph: Graph, feeds: Sequence[Mapping[str, Any]], seed: int = 0, *, budget: Budget | None = None) -> Study:
    """Walks the samples through ``graph`` and tries every group alone; groups that ``budget`` leaves no time for stay as they are. Raises
    :class:`~edge_agent.errors.ModelError` when it does not run, is too large, or nothing in it can go."""
    groups = channel_groups(graph)
    if not groups.sizes:
        raise ModelError("no layer has channels that may go: all are fixed by the model's outputs or by operators that are not followed")
    held_out = np.arange(len(feeds)) % 8 == 7
    enough = partial(budget.over, STUDY_PART) if budget else _never
    seen, outputs = observe(graph, groups, feeds, held_out, seed, enough)
    wanted, full = np.stack(outputs), max(cost(graph).macs, 1)
    at = {group: levels(size) for group, size in groups.sizes.items()}
    if PROBE_MACS / (sum(map(len, at.values())) * full) < MIN_PROBES:
        at = {group: (size // 2,) for group, size in groups.sizes.items()}
    count = int(np.clip(PROBE_MACS / max(sum(map(len, at.values())) * full, 1), MIN_PROBES, PROBES))
    probes = [int(index) for index in np.flatnonzero(held_out if held_out.any() else ~held_out)[:count]]
    rankings, measured = {}, []
    for group in groups.sizes:
        if enough():
            break
        ranking, tried = rank(graph, groups, seen, group, at[group])
        if len(ranking.loss) < groups.sizes[group]:
            continue
        rankings[group] = ranking
        made = {gone: outputs_of(_with_weights(graph, weights), [feeds[i] for i in probes]) for gone, weights in tried.items()}
        errors = {gone: relative_error(found, wanted[probes]) for gone, found in made.items()}
        measured.append(sensitivity(group, ranking.loss, errors))
    if not measured:
        raise ModelError("no group of channels could be ranked: the layers that read them are too wide, or time was up")
    return Study(graph, groups, feeds, held_out, seen, wanted, rankings, tuple(measured))


def _never() -> bool:
    return False


def outputs_of(graph: Graph, feeds: Sequence[Mapping[str, Any]]) -> Any:
    """All float outputs of ``graph``, float64 (samples, entries)."""
    run, names = opened(graph), [spec.name for spec in graph.outputs]
    return np.stack([flat_outputs(graph, {name: [array] for name, array in zip(names, run(feed), strict=True)})[0] for feed in feeds])


def relative_error(made: Any, wanted: Any) -> float:
    """Squared error over the variance of what was wanted, both over samples (rows) and summed over outputs."""
    return float(np.square(made - wanted).sum() / max(np.square(wanted - wanted.mean(axis=0)).sum(), 1e-30))


def _with_weights(graph: Graph, weights: Mapping[int, Any]) -> Graph:
    """``graph`` whose layers at the nodes ``weights`` names have those matrices (inputs + 1, outputs)."""
    nodes, constants = list(graph.nodes), dict(graph.constants)
    for index, made in weights.items():
        node = nodes[index]
        names = [f"{node.output[0]}_tried_weight", f"{node.output[0]}_tried_bias"]
        old = constants[node.input[1]]
        if node.op_type == "Conv":
            constants[names[0]] = np.ascontiguousarray(made[:-1].T.reshape(old.shape))
            nodes[index] = copied(node, inputs=[node.input[0], *names])
        else:
            constants[names[0]] = np.ascontiguousarray(made[:-1])
            nodes[index] = helper.make_node("Gemm", [node.input[0], *names], list(node.output), name=node.name)
        constants[names[1]] = made[-1].copy()
    return graph.edited(nodes, constants)
