"""A network with fewer channels and nearly the same answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from converters.model import Graph
from converters.prune.allocate import BALANCED, Weighing, allocate, channels_kept, cost_share, uniform
from converters.prune.cost import cost
from converters.prune.cut import narrowed
from converters.prune.polish import polish
from converters.prune.pruned import LayerKept, Pruned
from converters.prune.recover import recover
from converters.prune.study import Study, outputs_of, relative_error


def prune_graph(study: Study, target: float, weighing: Weighing = BALANCED, *, even: bool = False, polished: bool = True) -> Pruned:
    """The network of ``study`` at ``target`` share of its cost, or as near as its groups allow. ``even``: the same part of every group, for
    comparison. ``polished`` off leaves out the gradient steps after recovery."""
    share = cost_share(study.groups, cost(study.graph), weighing)
    kept = uniform(study.groups, share, target) if even else allocate(study.groups, study.sensitivities, share, target)
    return with_channels(study, kept, target, polished=polished)


def with_channels(study: Study, kept: Mapping[int, int], share: float, *, polished: bool = True) -> Pruned:
    """The network of ``study`` with so many channels of each group, recovered and polished."""
    keep = {
        group: np.sort(study.rankings[group].order[study.groups.sizes[group] - count :])
        for group, count in kept.items()
        if count < study.groups.sizes[group]
    }
    thin = narrowed(study.graph, study.groups, keep)
    graph, outputs = recover(thin, study.groups, study.seen, keep, study.feeds, study.held_out)
    held_out = study.held_out if study.held_out.any() else ~study.held_out
    error = relative_error(np.stack(outputs)[held_out], study.outputs[held_out])
    if polished and keep:
        graph, error = _polished(study, graph, error, held_out)
    after = cost(graph)
    counts = channels_kept(study.groups, kept)
    layers = tuple(LayerKept(study.graph.nodes[index].output[0], *pair) for index, pair in counts.items())
    return Pruned(share, graph, after.macs, after.params, layers, error)


def _polished(study: Study, graph: Graph, error: float, held_out: Any) -> tuple[Graph, float]:
    """The polished graph where that is nearer to the original on the samples it has not seen, else ``graph``."""
    fitted = [feed for feed, out in zip(study.feeds, study.held_out, strict=True) if not out]
    made = polish(graph, study.graph, fitted)
    if made is graph:
        return graph, error
    checked = [feed for feed, out in zip(study.feeds, held_out, strict=True) if out]
    after = relative_error(outputs_of(made, checked), study.outputs[held_out])
    return (made, after) if after < error else (graph, error)
