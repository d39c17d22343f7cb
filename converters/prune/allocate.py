"""How many channels each group keeps: the next ones to go are those that save most for the error they bring, as it was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.prune.cost import Cost
from converters.prune.groups import Groups
from converters.prune.spans import Spans

LEVELS = (0.25, 0.5, 0.75, 0.875)
"""Shares of a group's channels whose loss is measured at the model's outputs."""
SMALL = 32
"""Groups up to this size are cut in steps of 4, others of 8: what vector units and the runtimes' kernels work in."""


@dataclass(frozen=True, slots=True)
class Weighing:
    """What counts as cost, in parts: multiplications, parameters (the file), values moved between layers. Shares of the original's sums."""

    macs: float = 1.0
    params: float = 0.0
    moved: float = 0.0


BALANCED = Weighing(macs=0.5, params=0.3, moved=0.2)


def step(size: int) -> int:
    """In what steps a group of ``size`` channels is cut."""
    return 8 if size > SMALL else 4 if size > 4 else 1


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


def cost_share(groups: Groups, full: Cost, weighing: Weighing) -> Callable[[Mapping[int, int]], float]:
    """A function from channels kept by group to the share of the cost that is left. Linear layers shrink with both their sides; what the
    other
    operators cost is taken to shrink with the layers' outputs."""
    macs, params, moved = (
        max(sum(getattr(full.by_node[layer.index], key) for layer in groups.layers), 1) for key in ("macs", "params", "moved")
    )

    def share(kept: Mapping[int, int]) -> float:
        total = 0.0
        for layer in groups.layers:
            node = full.by_node[layer.index]
            reads, writes = _left(layer.inputs, groups, kept), _left(layer.outputs, groups, kept)
            both = writes if layer.depthwise else reads * writes
            total += both * (weighing.macs * node.macs / macs + weighing.params * node.params / params)
            total += (reads + writes) / 2 * weighing.moved * node.moved / moved
        return total / (weighing.macs + weighing.params + weighing.moved)

    return share


def allocate(
    groups: Groups, sensitivities: Sequence[Sensitivity], share: Callable[[Mapping[int, int]], float], target: float
) -> dict[int, int]:
    """Channels kept by group so that ``share`` of them is at most ``target``, or as little as can be."""
    kept = dict(groups.sizes)
    error = {one.group: one.error for one in sensitivities}
    now = share(kept)
    while now > target:
        steps = [_step(group, kept, groups, error, share, now) for group in kept]
        possible = [one for one in steps if one is not None]
        if not possible:
            break
        _, group, count, now = min(possible)
        kept[group] = count
    return kept


def uniform(groups: Groups, share: Callable[[Mapping[int, int]], float], target: float) -> dict[int, int]:
    """The same part of every group: what an allocation must beat."""
    for part in np.arange(1.0, 0.0, -1 / 64):
        kept = {group: max(min(size, round(size * part / step(size)) * step(size)), step(size)) for group, size in groups.sizes.items()}
        if share(kept) <= target:
            break
    return kept


def _step(group: int, kept: Mapping[int, int], groups: Groups, error: Mapping[int, Any], share: Any, now: float) -> tuple[Any, ...] | None:
    size = groups.sizes[group]
    count = -(-kept[group] // step(size)) * step(size) - step(size)
    if count < step(size) or group not in error:
        return None
    curve = error[group]
    after = share({**kept, group: count})
    brings = float(curve[size - count] - curve[size - kept[group]])
    return (brings / max(now - after, 1e-15), group, count, after)


def _left(spans: Spans, groups: Groups, kept: Mapping[int, int]) -> float:
    whole = sum(span.entries for span in spans)
    return sum(span.entries * kept.get(span.group, span.channels) / groups.sizes.get(span.group, span.channels) for span in spans) / whole


def channels_kept(groups: Groups, kept: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """Output channels of each layer before and after, by its node's index."""
    return {
        layer.index: (
            sum(span.entries for span in layer.outputs),
            sum(span.repeat * kept.get(span.group, span.channels) for span in layer.outputs),
        )
        for layer in groups.layers
    }
