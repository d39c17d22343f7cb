"""A network with fewer channels and nearly the same answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from converters.prune.allocate import allocate, channels_kept, uniform
from converters.prune.budget import Budget
from converters.prune.cost import cost
from converters.prune.cut import narrowed
from converters.prune.polish import Lessons, lessons, polish
from converters.prune.pruned import LayerKept, Pruned
from converters.prune.recover import recover
from converters.prune.study import Study, outputs_of, relative_error
from converters.prune.weigh import BALANCED, Burden, Weighing
from edge_agent.errors import ModelError

NEAR = 0.004
"""A network whose outputs differ from the original's by a smaller share of their variance is not polished: its answers are the same."""
WORK = 60e9
"""Multiplications (see ``polish.work_of``) that polishing the networks of one study is given, in equal parts."""


def prune_all(study: Study, shares: Sequence[float], budget: Budget) -> tuple[Pruned, ...]:
    """The network of ``study`` at each of the ``shares``, recovered; those that are not near enough, polished. Fewer of them when the
    ``budget`` runs out, with notes of what was left out; :class:`ModelError` when it does before the first is made."""
    made: list[Pruned] = []
    took_s = 0.0
    for share in shares:
        if made and budget.spent_s() + took_s > budget.seconds:
            break
        before = budget.spent_s() if made else 0.0
        began = budget.spent_s()
        try:
            one = prune_graph(study, share, enough=budget.over)
        except ModelError:
            if made:
                break
            raise
        took_s = budget.spent_s() - began
        made.append(replace(one, cpu_s=budget.spent_s() - before))
    if len(made) < len(shares):
        late = f"{len(shares) - len(made)} more shares were left out: {budget.seconds:g} s of processor time were up"
        made[-1] = replace(made[-1], notes=(*made[-1].notes, late))
    return _all_polished(study, made, budget)


def prune_graph(
    study: Study, target: float, weighing: Weighing = BALANCED, *, even: bool = False, enough: Callable[[], bool] | None = None
) -> Pruned:
    """The network of ``study`` at ``target`` share of its cost, or as near as its groups allow, recovered and not polished. ``even``: the
    same part of every group, for comparison. Raises :class:`ModelError` when there has been ``enough`` before the end."""
    burden = Burden(study.groups, cost(study.graph), weighing)
    kept = uniform(study.groups, burden, target) if even else allocate(study.groups, study.sensitivities, burden, target)
    return with_channels(study, kept, target, enough)


def with_channels(study: Study, kept: Mapping[int, int], share: float, enough: Callable[[], bool] | None = None) -> Pruned:
    """The network of ``study`` with so many channels of each group, recovered."""
    keep = {
        group: np.sort(study.rankings[group].order[study.groups.sizes[group] - count :])
        for group, count in kept.items()
        if count < study.groups.sizes[group]
    }
    thin = narrowed(study.graph, study.groups, keep)
    graph, outputs = recover(thin, study.groups, study.seen, keep, study.feeds, study.held_out, enough)
    held_out = _checked(study)
    error = relative_error(np.stack(outputs)[held_out], study.outputs[held_out])
    after = cost(graph)
    counts = channels_kept(study.groups, kept)
    layers = tuple(LayerKept(study.graph.nodes[index].output[0], *pair) for index, pair in counts.items())
    return Pruned(share, graph, after.macs, after.params, layers, error)


def polished(study: Study, one: Pruned, taught: Lessons, work: float, budget: Budget) -> Pruned:
    """``one`` after gradient steps where those bring it nearer to the original on the samples it has not seen, else as it is."""
    made = polish(one.graph, taught, work, enough=budget.over)
    if made is one.graph:
        return one
    held_out = _checked(study)
    checked = [feed for feed, out in zip(study.feeds, held_out, strict=True) if out]
    after = relative_error(outputs_of(made, checked), study.outputs[held_out])
    return replace(one, graph=made, error=after) if after < one.error else one


def _all_polished(study: Study, made: Sequence[Pruned], budget: Budget) -> tuple[Pruned, ...]:
    far = [one for one in made if one.error > NEAR]
    if not far:
        return tuple(made)
    before = budget.spent_s()
    taught = None if budget.over() else lessons(study.graph, [f for f, out in zip(study.feeds, study.held_out, strict=True) if not out])
    finished = []
    for one in made:
        if one in far and budget.over():
            one = replace(one, notes=(*one.notes, "not polished: time was up"))
        elif one in far and taught is not None:
            one = polished(study, one, taught, WORK / len(far), budget)
        after = budget.spent_s()
        finished.append(replace(one, cpu_s=one.cpu_s + after - before))
        before = after
    return tuple(finished)


def _checked(study: Study) -> Any:
    return study.held_out if study.held_out.any() else ~study.held_out
