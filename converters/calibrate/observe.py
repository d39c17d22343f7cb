"""Calibration from beginning to end: ranges, outliers left out, means, and ranges that leave out rare values where asked for.

The samples stream through the network once; a second time only when some were left out, since they are in the means by then, or for a
calibrator that counts values. Memory is that of one sample, of eight bytes for each tensor and sample, and of the histograms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.calibrate.collect import float_tensors, open_model, range_table, runs
from converters.calibrate.growing import growing_tensors
from converters.calibrate.histogram import Histogram, clipped
from converters.calibrate.means import Means, channel_axes
from converters.calibrate.ranges import Calibration, Rejected
from converters.calibrate.reject import reject_outliers
from converters.model import Graph

MOST_NAMED = 3
Feeds = Callable[[Sequence[int]], Iterable[Mapping[str, Any]]]
"""The model's inputs by name for each of the rows asked for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be known of a graph: ranges of the tensors ``names``, means by channel of those in ``axes`` (along these axes), with wild
    samples told by the tensors ``growing``. The model's ``inputs`` keep their whole range: every layer would miss what is cut off there.
    All of it fits in JSON."""

    names: tuple[str, ...]
    axes: Mapping[str, int]
    growing: tuple[str, ...]
    inputs: tuple[str, ...]


def plan_for(graph: Graph) -> Plan:
    """Every float tensor, and the means that layers with constant weights read."""
    names = float_tensors(graph)
    return Plan(
        names,
        {name: axis for name, axis in channel_axes(graph).items() if name in names},
        growing_tensors(graph),
        tuple(spec.name for spec in graph.inputs),
    )


def observe(model: Path, plan: Plan, feeds: Feeds, rows: tuple[int, ...], calibrator: str) -> Calibration:
    """Calibrates the instrumented ``model``. Tensors without a finite range are left out, and what reads them stays float. Raises
    :class:`~edge_agent.errors.ModelError` when the model is refused."""
    run = open_model(model)
    means = Means(plan.axes)
    table = range_table(plan.names, rows, means.watching(runs(run, feeds(rows))))
    found = reject_outliers(table, plan.growing)
    endless = [name for name in plan.names if name not in table.names]
    if endless:
        more = " and others" if len(endless) > MOST_NAMED else ""
        said = f"infinity or NaN in {', '.join(endless[:MOST_NAMED])}{more}: what gives or reads them stays float"
        found = replace(found, note="; ".join(filter(None, (found.note, said))))
    if not found.rejected and calibrator == "minmax":
        return replace(found, means=_finite(means, table.names))
    left_out = {sample.row for sample in found.rejected}
    kept = tuple(row for row in rows if row not in left_out)
    means = Means(plan.axes)
    counted = () if calibrator == "minmax" else tuple(name for name in table.names if name not in plan.inputs)
    histograms = {name: Histogram(found.ranges[name]) for name in counted}
    for values in means.watching(runs(run, feeds(kept))):
        for name, histogram in histograms.items():
            histogram.add(values[name])
    return replace(found, ranges={**found.ranges, **clipped(histograms, calibrator)}, means=_finite(means, table.names))


def _finite(means: Means, names: Sequence[str]) -> dict[str, Any]:
    """Nothing for tensors that have no range: their layers are not rounded."""
    return {name: mean if name in names else np.empty(0) for name, mean in means.result().items()}


def as_tree(found: Calibration) -> dict[str, Any]:
    """All but the means as JSON; floats come back as they were."""
    rejected = [[sample.row, sample.tensor, sample.ratio] for sample in found.rejected]
    return {
        "ranges": {name: list(extent) for name, extent in found.ranges.items()},
        "rejected": rejected,
        "used": found.used,
        "note": found.note,
    }


def from_tree(tree: Mapping[str, Any], means: Mapping[str, Any]) -> Calibration:
    """What :func:`as_tree` made, with its ``means``."""
    ranges = {name: (low, high) for name, (low, high) in tree["ranges"].items()}
    return Calibration(ranges, tuple(Rejected(*sample) for sample in tree["rejected"]), tree["used"], tree["note"], means)
