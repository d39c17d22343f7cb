from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.bundle.manifest import FileEntry, Manifest, Requirements, RuntimeRequirement
from edge_agent.update.trial import CaseResult, TrialMeasurement, judge, memory_reason, percentile_95, refusal
from edge_agent.values import TensorSpec

GOOD = CaseResult(0.001, True, False)


def measured(*cases: CaseResult, times_ms: tuple[float, ...] = (1.0,), peak_rss_mib: float = 40.0) -> TrialMeasurement:
    return TrialMeasurement(cases, times_ms, peak_rss_mib)


def test_a_candidate_without_fault_passes_with_what_was_measured() -> None:
    report = judge(measured(GOOD, GOOD, times_ms=(1.0, 2.0)), Requirements(latency_p95_ms=3, peak_rss_mib=50))
    assert report.passed and report.reasons == ()
    assert (report.max_error, report.latency_p95_ms, report.peak_rss_mib, report.runs) == (0.001, 2.0, 40.0, 2)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (measured(GOOD, CaseResult(2.5, False, False)), "wrong answers on 1 of 2 golden inputs (first: 1, largest error 2.5)"),
        (measured(CaseResult(math.inf, False, True)), "answers NaN on 1 of 1"),
        (measured(), "no golden inputs"),
        (measured(GOOD, times_ms=(5.0,)), "too slow"),
        (measured(GOOD, peak_rss_mib=51.0), "too large"),
    ],
)
def test_each_fault_is_a_reason(result: TrialMeasurement, reason: str) -> None:
    report = judge(result, Requirements(latency_p95_ms=3, peak_rss_mib=50))
    assert not report.passed
    assert reason in report.reasons[0]


def test_every_fault_is_told() -> None:
    bad = measured(CaseResult(1.0, False, False), CaseResult(math.inf, False, True), times_ms=(9.0,), peak_rss_mib=99.0)
    assert len(judge(bad, Requirements(latency_p95_ms=3, peak_rss_mib=50)).reasons) == 4


def test_without_budgets_time_and_memory_do_not_matter() -> None:
    assert judge(measured(GOOD, times_ms=(1e6,), peak_rss_mib=1e6), Requirements()).passed


def test_a_nan_that_is_expected_is_no_fault() -> None:
    assert judge(measured(CaseResult(0.0, True, True)), Requirements()).passed


def test_the_largest_error_is_always_a_number() -> None:
    report = judge(measured(CaseResult(math.inf, False, True), CaseResult(math.nan, False, True), GOOD), Requirements())
    assert report.max_error == 0.001


def test_memory_is_three_times_the_file_and_a_reserve() -> None:
    manifest = Manifest(
        "m", "1", RuntimeRequirement("onnx"), (FileEntry("m.onnx", "model", 10 << 20, "0" * 64),), (TensorSpec("x", "int8", (1,)),), ()
    )
    assert memory_reason(manifest, 62.0) == ""
    assert "61 MiB available, 62 MiB needed" in memory_reason(manifest, 61.0)
    assert memory_reason(manifest, None) == ""


def test_weights_beside_the_model_need_less_and_mapped_ones_hardly_more_than_themselves() -> None:
    files = (FileEntry("m.onnx", "model", 1 << 20, "0" * 64), FileEntry("m.weights", "weights", 100 << 20, "0" * 64))
    manifest = Manifest("m", "1", RuntimeRequirement("onnx"), files, (TensorSpec("x", "int8", (1,)),), ())
    assert "234 MiB available, 235 MiB needed" in memory_reason(manifest, 234.0)
    assert memory_reason(manifest, 235.0) == ""
    assert "154 MiB available, 155 MiB needed" in memory_reason(manifest, 154.0, mapped=True)
    assert memory_reason(manifest, 155.0, mapped=True) == ""


def test_a_refusal_carries_its_reason() -> None:
    report = refusal("no room", transient=True)
    assert (report.passed, report.reasons, report.transient) == (False, ("no room",), True)


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_at_most_one_in_twenty_is_above_the_percentile(values: list[float]) -> None:
    p95 = percentile_95(values)
    assert p95 in values
    assert sum(value > p95 for value in values) <= len(values) * 0.05
