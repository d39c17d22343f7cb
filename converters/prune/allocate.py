"""How many channels each group keeps: the next ones to go are those that save most for the error they bring, as it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.prune.groups import Groups
from converters.prune.weigh import Burden

LEVELS = (0.25, 0.5, 0.75, 0.875)
"""Shares of a group's channels whose loss is measured at the model's outputs."""
SMALL, LARGE = 32, 256
"""Groups up to the first are cut in steps of 4, up to the second of 8, others of 16: what vector units and kernels work in."""
AHEAD = 4
"""Steps that are weighed as one move."""


def step(size: int) -> int:
    """In what steps a group of ``size`` channels is cut."""
    return 16 if size > LARGE else 8 if size > SMALL else 4 if size > 4 else 1


def levels(size: int) -> tuple[int, ...]:
    """How many channels go at each of ``LEVELS``."""
    return tuple(sorted({count for level in LEVELS if 0 < (count := int(level * size)) < size}))


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivity:
    """``error[n]``: relative error at the model's outputs with n channels of a group gone: measured at ``levels``, between them as the
    local
    loss runs."""

    group: int
    error: Any


def sensitivity(group: int, loss: Any, measured: Mapping[int, float]) -> Sensitivity:
    """Scales the local ``loss`` (by channels gone) so that it runs through what was ``measured`` at some counts."""
    floor = max(float(loss.max()), 1e-30) * 1e-12
    local = np.maximum.accumulate(np.maximum(loss, floor))
    counts = sorted(measured)
    factors = [np.log(max(measured[count], 1e-15) / local[count]) for count in counts]
    scale = np.exp(np.interp(np.arange(len(local)), counts, factors)) if counts else np.ones(len(local))
    error = np.maximum.accumulate(local * scale)
    error[0] = 0.0
    return Sensitivity(group, error)


@dataclass(frozen=True, slots=True)
class Move:
    """``group`` goes to ``count`` channels, which ``brings`` error and ``saves`` a share of the cost."""

    group: int
    count: int
    brings: float
    saves: float

    def price(self) -> tuple[float, int, int]:
        return (self.brings + 1e-12) / max(self.saves, 1e-12), self.group, self.count


def allocate(groups: Groups, sensitivities: Sequence[Sensitivity], burden: Burden, target: float) -> dict[int, int]:
    """Channels kept by group so that ``burden`` is at most the share ``target``, or as little as can be.

    Each move takes from one group as many channels as save most for the error they bring: kernels save nothing before a whole tile is gone.
    Of all moves on the way that would reach the target, the one that ends with least error is the last; then the room it left is filled.
    """
    kept, now, error = dict(groups.sizes), burden.share(groups.sizes), 0.0
    curves = {one.group: one.error for one in sensitivities}
    moves = {group: _moves(group, kept, groups, curves, burden) for group in curves}
    ends: list[tuple[float, int, dict[int, int]]] = [(0.0, 0, kept)] if now <= target else []
    while now > target and any(moves.values()):
        every = [move for found in moves.values() for move in found]
        ends += [(error + m.brings, len(ends), {**kept, m.group: m.count}) for m in every if now - m.saves <= target]
        best = min(every, key=Move.price)
        kept, now, error = {**kept, best.group: best.count}, now - best.saves, error + best.brings
        for other in burden.neighbours(best.group) & moves.keys():
            moves[other] = _moves(other, kept, groups, curves, burden)
    return _filled(min(ends)[2], groups, curves, burden, target) if ends else kept


def _filled(kept: dict[int, int], groups: Groups, curves: Mapping[int, Any], burden: Burden, target: float) -> dict[int, int]:
    """Gives channels back, those that take most error away first, while the share stays at most ``target``."""
    room = target - burden.share(kept)
    while True:
        found = []
        for group, curve in curves.items():
            size, has = groups.sizes[group], kept[group]
            for count in range(has + step(size), min(has + AHEAD * step(size), size) + 1, step(size)):
                if (costs := -burden.saved(kept, group, count)) <= room:
                    found.append((float(curve[size - has] - curve[size - count]), -count, group, costs))
        relief, count, group, costs = max(found, default=(0.0, 0, 0, 0.0))
        if relief <= 0:
            return kept
        kept, room = {**kept, group: -count}, room - costs


def uniform(groups: Groups, burden: Burden, target: float) -> dict[int, int]:
    """The same part of every group: what an allocation must beat."""
    for part in np.arange(1.0, 0.0, -1 / 64):
        kept = {group: max(min(size, round(size * part / step(size)) * step(size)), step(size)) for group, size in groups.sizes.items()}
        if burden.share(kept) <= target:
            break
    return kept


def _moves(group: int, kept: Mapping[int, int], groups: Groups, curves: Mapping[int, Any], burden: Burden) -> list[Move]:
    """To the next ``AHEAD`` smaller sizes."""
    size, every, curve = groups.sizes[group], step(groups.sizes[group]), curves[group]
    most = (kept[group] - 1) // every * every
    return [
        Move(group, count, float(curve[size - count] - curve[size - kept[group]]), burden.saved(kept, group, count))
        for count in range(most, max(most - AHEAD * every, 0), -every)
    ]


def channels_kept(groups: Groups, kept: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """Output channels of each layer before and after, by its node's index."""
    return {
        layer.index: (
            sum(span.entries for span in layer.outputs),
            sum(span.repeat * kept.get(span.group, span.channels) for span in layer.outputs),
        )
        for layer in groups.layers
    }
