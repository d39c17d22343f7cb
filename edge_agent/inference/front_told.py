"""What the local API's process told of itself, as the control process keeps it: answers by model and by version. No numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_agent.pipeline.told import ServingTotals, snapshot_from
from edge_agent.values import HistogramSnapshot


@dataclass(slots=True)
class FrontTold:
    """Counts of one process. It counts by model; where a model's version changed, what came before is of the version before."""

    settled: int = 0
    serving: dict[str, ServingTotals] = field(default_factory=dict)
    _sums: dict[str, ServingTotals] = field(default_factory=dict)
    _before: dict[str, ServingTotals] = field(default_factory=dict)

    def update(self, message: Mapping[str, Any]) -> bool:
        """Take a status message; whether it shows progress, or nothing that waits for any."""
        for model, tree in message["models"].items():
            self._count(model, _sums_of(tree))
        moved = message["settled"] != self.settled
        self.settled = message["settled"]
        return moved or not message["busy"]

    def _count(self, model: str, sums: ServingTotals) -> None:
        last = self._sums.get(model)
        if last is not None and last.digest != sums.digest:
            self._before[model] = last
        self._sums[model] = sums
        before = self._before.get(model)
        self.serving[model] = sums if before is None else _less(sums, before)


def _sums_of(tree: Mapping[str, Any]) -> ServingTotals:
    """Answers, failures that are not the client's doing, and times since the process started."""
    errors = tree["failed"] + tree["timed_out"]
    return ServingTotals(tree["digest"], tree["answered"], errors, snapshot_from(tree["latency"]["total"]))


def _less(sums: ServingTotals, before: ServingTotals) -> ServingTotals:
    counts = {index: count - before.infer.counts.get(index, 0) for index, count in sums.infer.counts.items()}
    infer = HistogramSnapshot({index: count for index, count in counts.items() if count > 0}, sums.infer.max_us)
    return ServingTotals(sums.digest, sums.windows - before.windows, sums.errors - before.errors, infer)
