"""What a pipeline process told of itself, as the control process keeps it. No numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from edge_agent.pipeline.shadow import ShadowReport
from edge_agent.telemetry.latency import EMPTY, merge
from edge_agent.values import Box, HistogramSnapshot, PipelineCounters, PipelineStatus, Prediction, SinkCounts, StageTimes, StageVerdict


@dataclass(frozen=True, slots=True)
class ServingTotals:
    """Of one model version in one pipeline: windows answered, windows failed, how long the answers took."""

    digest: str = ""
    windows: int = 0
    errors: int = 0
    infer: HistogramSnapshot = EMPTY

    def plus(self, other: ServingTotals) -> ServingTotals:
        """Both together when they speak of the same version, else ``other`` alone."""
        if self.digest != other.digest:
            return other
        return ServingTotals(self.digest, self.windows + other.windows, self.errors + other.errors, merge(self.infer, other.infer))


@dataclass(slots=True)
class PipelineTold:
    """The latest status message of one process."""

    state: str = "starting"
    counters: PipelineCounters = field(default_factory=PipelineCounters)
    latency: Mapping[str, HistogramSnapshot] = field(default_factory=dict)
    serving: Mapping[str, ServingTotals] = field(default_factory=dict)
    shadow: ShadowReport = field(default_factory=ShadowReport)
    sinks: Mapping[str, SinkCounts] = field(default_factory=dict)
    last_error: str = ""

    def update(self, message: Mapping[str, Any]) -> bool:
        """Take a status message; whether it shows progress, or nothing that waits for any."""
        counters = PipelineCounters(**message["counters"])
        moved = (counters.windows, counters.failed) != (self.counters.windows, self.counters.failed)
        self.state = message["state"]
        self.counters = counters
        if "latency" in message:
            self.latency = {stage: snapshot_from(tree) for stage, tree in message["latency"].items()}
            self.serving = {model: totals_from(tree) for model, tree in message["serving"].items()}
        self.shadow = ShadowReport(**message["shadow"])
        self.sinks = {name: SinkCounts(**counts) for name, counts in message["sinks"].items()}
        self.last_error = message["last_error"]
        return moved or not message["busy"]

    def status(
        self, name: str, model: str, version: str, *, state: str, pid: int | None, restarts: int, undelivered: int, error: str
    ) -> PipelineStatus:
        """As the engine shows it; ``state`` and ``error`` override what the process said. ``undelivered`` messages count as dropped."""
        counters = replace(self.counters, produced=self.counters.produced + undelivered, dropped=self.counters.dropped + undelivered)
        error = error or self.last_error
        shadow = asdict(self.shadow) if self.shadow.digest else {}
        return PipelineStatus(name, model, version, state or self.state, pid, restarts, counters, self.latency, error, self.sinks, shadow)


def totals_from(tree: Mapping[str, Any]) -> ServingTotals:
    """Serving totals from their JSON form."""
    return ServingTotals(tree["digest"], tree["windows"], tree["errors"], snapshot_from(tree["infer"]))


def sum_totals(kept: Mapping[str, ServingTotals], more: Mapping[str, ServingTotals]) -> dict[str, ServingTotals]:
    """By model, both together; of different versions the one in ``more``."""
    return {**kept, **{model: kept[model].plus(totals) if model in kept else totals for model, totals in more.items()}}


def snapshot_from(tree: Mapping[str, Any]) -> HistogramSnapshot:
    """A histogram snapshot from its JSON form, whose keys are text."""
    return HistogramSnapshot({int(index): count for index, count in tree["counts"].items()}, tree["max_us"])


def prediction_from(tree: Mapping[str, Any]) -> Prediction:
    """A prediction from its JSON form."""
    boxes = tuple(Box(**box) for box in tree.get("boxes", ()))
    before = tuple(StageVerdict(**verdict) for verdict in tree.get("before", ()))
    made = {"times": StageTimes(**tree["times"]), "scores": tuple(tree["scores"]), "boxes": boxes, "before": before}
    return Prediction(**{**tree, **made})
