"""What the pruning job left, as values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from converters.model import graph_of
from converters.prune.pruned import LayerKept, Pruned


def read_pruned(folder: Path, answer: Mapping[str, Any]) -> tuple[Pruned, ...]:
    """The graphs in ``folder`` with the facts of the job's ``answer``, in the order of its shares."""
    return tuple(_pruned(folder / f"pruned-{number}.onnx", facts) for number, facts in enumerate(answer["pruned"]))


def _pruned(path: Path, facts: Mapping[str, Any]) -> Pruned:
    layers = tuple(LayerKept(layer["name"], layer["before"], layer["after"]) for layer in facts["layers"])
    graph = graph_of(onnx.load(str(path)))
    sizes = (int(facts["macs"]), int(facts["params"]))
    return Pruned(float(facts["share"]), graph, *sizes, layers, float(facts["error"]), float(facts["cpu_s"]), tuple(facts["notes"]))
