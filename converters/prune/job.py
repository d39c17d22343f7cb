"""Pruning in the child of ``isolate``: reads a graph and sample rows, leaves one narrower graph for each share asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from converters.model import graph_of, to_bytes
from converters.prune.budget import Budget
from converters.prune.cost import cost
from converters.prune.prune import prune_all
from converters.prune.pruned import Pruned
from converters.prune.study import study
from converters.samples import Samples
from edge_agent.bundle.manifest import Step
from edge_agent.errors import ModelError

MAX_HELD_BYTES = 1 << 29
"""Of the samples' activations between two layers; fewer samples are used where they would be more."""
MIN_SAMPLES = 16
BUDGET_S = 120.0
"""Of processor time, where the job names no other ``budget_s``: after it, what is done by then is the answer."""


def prune(folder: Path, job: Mapping[str, Any]) -> dict[str, Any]:
    """``graph.onnx`` in ``folder`` (after the passes), narrowed to each of the job's ``shares`` of its cost: ``pruned-<n>.onnx``, and
    facts of each; fewer where its ``budget_s`` runs out. Raises :class:`ModelError` when the graph cannot be run or is too large, has no
    channels to spare, or there are too few samples."""
    graph = graph_of(onnx.load(str(folder / "graph.onnx")))
    before = cost(graph)
    widest = max((4 * node.moved for node in before.by_node), default=1)
    rows = _spread(job["rows"], MAX_HELD_BYTES // max(widest, 1))
    if len(rows) < MIN_SAMPLES:
        raise ModelError(f"pruning needs {MIN_SAMPLES} samples that fit in {MAX_HELD_BYTES >> 20} MiB between two layers, not {len(rows)}")
    steps = tuple(Step(step["op"], step["args"]) for step in job["preprocess"])
    feeds = list(Samples(Path(job["samples"]), graph.inputs, steps).feeds(rows))
    budget = Budget(float(job.get("budget_s", BUDGET_S)))
    made = prune_all(study(graph, feeds, budget=budget), job["shares"], budget)
    for number, one in enumerate(made):
        (folder / f"pruned-{number}.onnx").write_bytes(to_bytes(one.graph))
    return {"pruned": [_facts(one) for one in made], "macs": before.macs, "params": before.params, "samples": len(rows)}


def _facts(made: Pruned) -> dict[str, Any]:
    layers = [{"name": layer.name, "before": layer.before, "after": layer.after} for layer in made.layers]
    sizes = {"share": made.share, "macs": made.macs, "params": made.params}
    return {**sizes, "layers": layers, "error": made.error, "cpu_s": round(made.cpu_s, 2), "notes": list(made.notes)}


def _spread(rows: Any, most: int) -> tuple[int, ...]:
    """At most ``most`` of ``rows``, evenly over them."""
    if len(rows) <= most:
        return tuple(rows)
    return tuple(int(rows[i]) for i in np.linspace(0, len(rows) - 1, max(most, 1)).astype(int))
