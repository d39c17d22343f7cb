"""From what a candidate did on its golden inputs to a verdict with every reason. Pure: measuring is the worker's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

from edge_agent.bundle.manifest import Manifest, Requirements
from edge_agent.pipeline.shadow import ShadowReport
from edge_agent.values import TrialReport

RESERVE_MIB = 32.0
INSIDE_FACTOR = 3.0
"""A loading model may need three times its file: the file's bytes, the runtime's copy, the copy it re-orders for speed."""
BESIDE_FACTOR = 2.0
"""Of a file beside the model nothing is copied but to be re-ordered; what is read of it meanwhile is mapped, the largest tensor at most."""
MAPPED_FACTOR = 1.2
"""Mapped weights are the file's own pages, which must find room to be quick; no copy of them is made."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One golden case: largest absolute error, whether every value was within tolerance, whether one was not a number."""

    max_error: float
    within: bool
    nan: bool


@dataclass(frozen=True, slots=True)
class TrialMeasurement:
    """What the candidate's process measured of itself."""

    cases: tuple[CaseResult, ...]
    times_ms: tuple[float, ...]
    peak_rss_mib: float


def judge(measured: TrialMeasurement, requires: Requirements) -> TrialReport:
    """Passed exactly when nothing speaks against it."""
    p95_ms = percentile_95(measured.times_ms)
    errors = [case.max_error for case in measured.cases if isfinite(case.max_error)]
    reasons = [*_answer_reasons(measured.cases)]
    if requires.latency_p95_ms and p95_ms > requires.latency_p95_ms:
        reasons.append(f"too slow: p95 of one run is {p95_ms:.3g} ms, the bundle allows {requires.latency_p95_ms:.3g} ms")
    if requires.peak_rss_mib and measured.peak_rss_mib > requires.peak_rss_mib:
        reasons.append(f"too large: peak memory {measured.peak_rss_mib:.1f} MiB, the bundle allows {requires.peak_rss_mib:.1f} MiB")
    return TrialReport(not reasons, max(errors, default=0.0), p95_ms, measured.peak_rss_mib, tuple(reasons), len(measured.times_ms))


def judge_shadow(report: TrialReport, shadow: ShadowReport, requires: Requirements) -> TrialReport:
    """``report`` of the trial, and what came of answering beside the serving version. Other answers are why one sends a new version, so
    they count against it only beyond the share that the bundle allows (``shadow_disagreement``); failing on real windows always does."""
    reasons = []
    if shadow.failed:
        reasons.append(f"beside the serving version: {shadow}")
    elif requires.shadow_disagreement and shadow.disagreed > requires.shadow_disagreement * shadow.windows:
        reasons.append(f"beside the serving version {shadow}; the bundle allows {requires.shadow_disagreement:.1%}")
    return replace(report, passed=not reasons, reasons=tuple(reasons))


def refusal(reason: str, *, transient: bool = False) -> TrialReport:
    """The report of a candidate that never came so far as to be measured; ``transient`` when the board was the reason."""
    return TrialReport(False, 0.0, 0.0, 0.0, (reason,), transient=transient)


def memory_reason(manifest: Manifest, available_mib: float | None, *, mapped: bool = False) -> str:
    """Why a second copy does not fit beside the serving one, empty when it does or when the board cannot tell. ``mapped``: weights beside
    the model will not be re-ordered."""
    beside = sum(entry.bytes for entry in manifest.weights_files)
    needed_bytes = INSIDE_FACTOR * manifest.model_file.bytes + (MAPPED_FACTOR if mapped else BESIDE_FACTOR) * beside
    needed_mib = needed_bytes / (1 << 20) + RESERVE_MIB
    if available_mib is None or available_mib >= needed_mib:
        return ""
    return f"not enough memory to try it beside the serving model: {available_mib:.0f} MiB available, {needed_mib:.0f} MiB needed"


def percentile_95(values: Sequence[float]) -> float:
    """By nearest rank; 0.0 of nothing."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * 95 // 100) - 1)] if ordered else 0.0


def _answer_reasons(cases: Sequence[CaseResult]) -> list[str]:
    if not cases:
        return ["the bundle has no golden inputs, so its answers cannot be proven on this device"]
    reasons = []
    nan = [i for i, case in enumerate(cases) if case.nan and not case.within]
    wrong = [i for i, case in enumerate(cases) if not case.within and not case.nan]
    if nan:
        reasons.append(f"answers NaN on {len(nan)} of {len(cases)} golden inputs (first: {nan[0]})")
    if wrong:
        worst = max(cases[i].max_error for i in wrong)
        reasons.append(f"wrong answers on {len(wrong)} of {len(cases)} golden inputs (first: {wrong[0]}, largest error {worst:.4g})")
    return reasons
