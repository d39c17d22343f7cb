"""Interval figures from two looks at the engine."""

from __future__ import annotations

from dataclasses import replace

from edge_agent.protocol.messages import ProcessMetrics
from edge_agent.telemetry.latency import LatencyHistogram
from edge_agent.telemetry.summary import summarize_models, summarize_pipelines
from edge_agent.values import HistogramSnapshot, ModelStatus, PipelineCounters, PipelineStatus


def snapshot(*values_us: float) -> HistogramSnapshot:
    histogram = LatencyHistogram()
    for us in values_us:
        histogram.record(us)
    return histogram.snapshot()


def status(processed: int, *infer_us: float, name: str = "line", version: str = "2") -> PipelineStatus:
    counters = PipelineCounters(produced=processed + 3, processed=processed, dropped=1, failed=1, in_flight=1, correct=9, labelled=10)
    return PipelineStatus(name, "digits", version, "running", 7, 0, counters, {"infer": snapshot(*infer_us), "total": snapshot(*infer_us)})


def test_rates_and_percentiles_are_of_the_interval_and_counters_are_totals() -> None:
    (found,) = summarize_pipelines([status(100, *[10.0] * 100)], [status(300, *[10.0] * 100, *[1000.0] * 200)], 10.0)
    assert found.rate_hz == 20.0
    assert (found.processed, found.produced, found.dropped, found.failed, found.in_flight) == (300, 303, 1, 1, 1)
    assert found.latency["infer"].count == 200
    assert abs(found.latency["infer"].p50_us - 1000.0) <= 20.0
    assert found.accuracy == 0.9


def test_a_pipeline_seen_for_the_first_time_or_started_again_counts_from_its_start() -> None:
    (new,) = summarize_pipelines([], [status(50, *[10.0] * 50)], 10.0)
    (again,) = summarize_pipelines([status(900, *[10.0] * 900)], [status(50, *[10.0] * 50)], 10.0)
    assert new.rate_hz == again.rate_hz == 5.0
    assert new.latency["total"].count == again.latency["total"].count == 50


def test_accuracy_without_labels_and_a_zero_interval_are_no_division() -> None:
    bare = replace(status(5), counters=PipelineCounters(processed=5))
    (found,) = summarize_pipelines([], [bare], 0.0)
    assert (found.accuracy, found.rate_hz) == (None, 0.0)


def test_a_model_has_the_latency_of_all_pipelines_it_serves_and_the_memory_of_its_worker() -> None:
    model = ModelStatus("digits", "2", "ab" * 32, "serving", 55, 1, 1000, 2, rss_mib=1.0)
    earlier = [status(1, 10.0, name="a"), status(1, 10.0, name="b")]
    later = [status(3, 10.0, 20.0, 20.0, name="a"), status(2, 10.0, 40.0, name="b"), status(9, 5.0, name="c", version="1")]
    processes = [ProcessMetrics("worker:digits@2", 55, 61.0, 40.5, 12.0)]
    (found,) = summarize_models([model], earlier, later, processes)
    assert found.latency["infer"].count == 3
    assert (found.rss_mib, found.pss_mib, found.requests, found.errors, found.restarts) == (61.0, 40.5, 1000, 2, 1)
    (gone,) = summarize_models([replace(model, pid=None)], earlier, [], [])
    assert (gone.rss_mib, gone.pss_mib, gone.latency) == (1.0, None, {})
