"""Whether a model on probation does well, compared with the one it replaced. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.values import HealthSample


@dataclass(frozen=True, slots=True)
class Limits:
    """How much worse than its predecessor a new model may be while it is watched.

    Rates and percentiles are judged from ``min_windows`` on. Latency is judged once, at the end of probation: before that its
    95th percentile is a few windows, which a busy board delays as it likes. ``latency_margin_us`` keeps fast models from failing on noise.
    Silence is ``silent_windows`` that the predecessor would have answered, and at least ``silent_s``: a pipeline tells what it did a few
    times a second, and later where the board is busy, so that a fast one would seem silent before it had a chance to speak.
    """

    max_crashes: int = 0
    error_rate_margin: float = 0.02
    latency_factor: float = 3.0
    latency_margin_us: float = 10_000.0
    min_windows: int = 20
    silent_windows: float = 5.0
    silent_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the predecessor did: its totals, and the windows it answered per second just before the switch."""

    sample: HealthSample
    rate_hz: float


def rate_hz(before: HealthSample, after: HealthSample, elapsed_s: float) -> float:
    """Windows per second between two samples of one model version; 0 when no time passed or the counts began anew."""
    return max(0.0, (after.windows - before.windows) / elapsed_s) if elapsed_s > 0 else 0.0


def complaints(baseline: Baseline | None, now: HealthSample, elapsed_s: float, limits: Limits) -> tuple[str, ...]:
    """Every reason to take the new model back, ``elapsed_s`` after it began to serve; empty while it does well.

    Without a baseline (a first install, or a restart in between) only crashes and errors count.
    """
    reasons = []
    if now.crashes > limits.max_crashes:
        reasons.append("crashed" if now.crashes == 1 else f"crashed {now.crashes} times")
    if now.windows + now.errors >= limits.min_windows:
        reasons += _errors(baseline, now, limits)
    due = baseline.rate_hz * elapsed_s if baseline else 0.0
    if baseline and now.windows == 0 and due >= limits.silent_windows and elapsed_s >= limits.silent_s:
        reasons.append(f"answered no window in {elapsed_s:.1f} s; its predecessor answered {baseline.rate_hz:.1f} per second")
    return tuple(reasons)


def watched_enough(baseline: Baseline | None, now: HealthSample, elapsed_s: float, watch_s: float) -> bool:
    """Whether probation is over: ``watch_s`` have passed and, where its predecessor was busy, the model has answered something.

    A silent one is not passed but complained about, once its silence says something.
    """
    if elapsed_s < watch_s:
        return False
    busy = baseline is not None and baseline.rate_hz > 0
    return now.windows > 0 or not busy


def _errors(baseline: Baseline | None, now: HealthSample, limits: Limits) -> list[str]:
    rate = _error_rate(now)
    usual = _error_rate(baseline.sample) if baseline else 0.0
    if rate <= usual + limits.error_rate_margin:
        return []
    return [f"failed on {100 * rate:.1f} % of windows; its predecessor on {100 * usual:.1f} %"]


def too_slow(baseline: Baseline | None, now: HealthSample, limits: Limits) -> str:
    """Why the new model is too slow beside its predecessor, at the end of probation; empty when it is not, or too little was seen."""
    if baseline is None or min(baseline.sample.windows, now.windows) < limits.min_windows:
        return ""
    limit_us = baseline.sample.infer_p95_us * limits.latency_factor + limits.latency_margin_us
    if now.infer_p95_us <= limit_us:
        return ""
    usual_us = baseline.sample.infer_p95_us
    return f"was slow: 95th percentile {now.infer_p95_us:.0f} us, its predecessor {usual_us:.0f} us, allowed {limit_us:.0f} us"


def _error_rate(sample: HealthSample) -> float:
    total = sample.windows + sample.errors
    return sample.errors / total if total else 0.0
