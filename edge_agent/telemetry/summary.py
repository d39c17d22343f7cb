"""From two looks at the pipelines to what happened in between. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge_agent.protocol.messages import LatencySummary, ModelMetrics, PipelineMetrics, ProcessMetrics
from edge_agent.telemetry.latency import EMPTY, merge, subtract, summarize
from edge_agent.values import HistogramSnapshot, ModelStatus, PipelineStatus

MODEL_STAGES = ("infer", "model")


def summarize_pipelines(
    earlier: Sequence[PipelineStatus], later: Sequence[PipelineStatus], interval_s: float
) -> tuple[PipelineMetrics, ...]:
    """Metrics of every pipeline in ``later`` over the ``interval_s`` seconds since ``earlier``; one not in ``earlier`` is all new."""
    before = {status.name: status for status in earlier}
    return tuple(_pipeline(before.get(status.name), status, interval_s) for status in later)


def summarize_models(
    models: Sequence[ModelStatus],
    earlier: Sequence[PipelineStatus],
    later: Sequence[PipelineStatus],
    processes: Sequence[ProcessMetrics],
) -> tuple[ModelMetrics, ...]:
    """Metrics of every model: its totals, its worker's memory, and the latency that the pipelines it serves saw in between."""
    by_pid = {process.pid: process for process in processes}
    before = {status.name: status for status in earlier}
    return tuple(_model(model, before, later, by_pid.get(model.pid) if model.pid else None) for model in models)


def _pipeline(before: PipelineStatus | None, now: PipelineStatus, interval_s: float) -> PipelineMetrics:
    counters = now.counters
    processed = counters.processed - (before.counters.processed if before else 0)
    if processed < 0:  # its process began anew, and its counters with it
        processed = counters.processed
    return PipelineMetrics(
        name=now.name,
        model=now.model,
        version=now.version,
        rate_hz=round(processed / interval_s, 3) if interval_s > 0 else 0.0,
        produced=counters.produced,
        processed=counters.processed,
        dropped=counters.dropped,
        failed=counters.failed,
        in_flight=counters.in_flight,
        replayed=counters.replayed,
        windows=counters.windows,
        latency={stage: _rounded(summarize(_between(before, now, stage))) for stage in now.latency},
        accuracy=round(counters.correct / counters.labelled, 6) if counters.labelled else None,
        restarts=now.restarts,
        state=now.state,
    )


def _model(
    model: ModelStatus, before: Mapping[str, PipelineStatus], later: Sequence[PipelineStatus], process: ProcessMetrics | None
) -> ModelMetrics:
    served = [status for status in later if status.model == model.name and status.version == model.version]
    latency = {}
    for stage in MODEL_STAGES:
        total = EMPTY
        for status in served:
            total = merge(total, _between(before.get(status.name), status, stage))
        if total.counts:
            latency[stage] = _rounded(summarize(total))
    return ModelMetrics(
        name=model.name,
        version=model.version,
        state=model.state,
        requests=model.requests,
        errors=model.errors,
        restarts=model.restarts,
        rss_mib=process.rss_mib if process else model.rss_mib,
        pss_mib=process.pss_mib if process else None,
        latency=latency,
    )


def _between(before: PipelineStatus | None, now: PipelineStatus, stage: str) -> HistogramSnapshot:
    latest = now.latency.get(stage, EMPTY)
    return subtract(latest, before.latency.get(stage, EMPTY)) if before else latest


def _rounded(summary: LatencySummary) -> LatencySummary:
    """A tenth of a microsecond is more than the histogram knows; shorter numbers make a third less to send."""
    return LatencySummary(
        summary.count, round(summary.p50_us, 1), round(summary.p95_us, 1), round(summary.p99_us, 1), round(summary.max_us, 1)
    )
