"""Calibration from beginning to end: ranges, outliers left out, means, and ranges that leave out rare values where asked for.

The samples stream through the network once; a second time only when some were left out, since they are in the means by then, or for a
calibrator that counts values. Memory is that of one sample, of eight bytes for each tensor and sample, and of the histograms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converters.calibrate.collect import float_tensors, open_model, range_table, runs
from converters.calibrate.growing import growing_tensors
from converters.calibrate.histogram import Histogram, clipped
from converters.calibrate.means import Means, channel_axes
from converters.calibrate.ranges import Calibration, Rejected
from converters.calibrate.reject import reject_outliers
from converters.model import Graph

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
    """Calibrates the instrumented ``model``. Raises :class:`~edge_agent.errors.ModelError` when the model is refused or a value is not
    finite."""
    run = open_model(model)
    means = Means(plan.axes)
    found = reject_outliers(range_table(plan.names, rows, means.watching(runs(run, feeds(rows)))), plan.growing)
    if not found.rejected and calibrator == "minmax":
        return replace(found, means=means.result())
    left_out = {sample.row for sample in found.rejected}
    kept = tuple(row for row in rows if row not in left_out)
    means = Means(plan.axes)
    counted = () if calibrator == "minmax" else tuple(name for name in plan.names if name not in plan.inputs)
    histograms = {name: Histogram(found.ranges[name]) for name in counted}
    for values in means.watching(runs(run, feeds(kept))):
        for name, histogram in histograms.items():
            histogram.add(values[name])
    return replace(found, ranges={**found.ranges, **clipped(histograms, calibrator)}, means=means.result())


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
