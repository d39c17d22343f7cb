"""Counters and rates in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from edge_agent.front.lane import Lane
from edge_agent.front.listeners import Listeners
from edge_agent.telemetry.latency import bounds_us

KIND = b"text/plain; version=0.0.4; charset=utf-8"
BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

_OUTCOMES = ("answered", "refused", "rejected", "failed", "timed_out")


def metrics_text(lanes: Sequence[Lane], listeners: Listeners) -> str:
    """Everything at once, as a scraper reads it."""
    lines: list[str] = []
    outcomes = [(f'{_model(lane)},outcome="{o}"', getattr(lane.totals, o)) for lane in lanes for o in _OUTCOMES]
    _family(lines, "edge_api_requests_total", "counter", "Inference requests by outcome.", outcomes)
    for name, kind, text, read in _FAMILIES:
        _family(lines, name, kind, text, [(_model(lane), read(lane)) for lane in lanes])
    _family(lines, "edge_api_connections", "gauge", "Clients connected.", [("", len(listeners.connections))])
    _family(
        lines,
        "edge_api_connections_refused_total",
        "counter",
        "Clients turned away because too many were connected.",
        [("", listeners.refused)],
    )
    _latency(lines, lanes)
    return "\n".join(lines) + "\n"


_FAMILIES: tuple[tuple[str, str, str, Callable[[Lane], float]], ...] = (
    ("edge_api_replayed_total", "counter", "Requests asked again after a worker died or hung.", lambda lane: lane.totals.replayed),
    (
        "edge_api_quarantined_total",
        "counter",
        "Inputs quarantined after two workers died or hung of them.",
        lambda lane: lane.totals.quarantined,
    ),
    ("edge_api_model_seconds_total", "counter", "Time spent in the model.", lambda lane: lane.totals.model_ns / 1e9),
    ("edge_api_queue_seconds_total", "counter", "Time requests waited for a worker.", lambda lane: lane.totals.queue_ns / 1e9),
    ("edge_api_waiting", "gauge", "Requests waiting for a worker.", lambda lane: lane.waiting),
    ("edge_api_in_flight", "gauge", "Requests with a worker.", lambda lane: lane.in_flight),
    ("edge_api_workers", "gauge", "Workers that take requests (n).", lambda lane: lane.workers),
    ("edge_api_arrival_rate", "gauge", "Requests a second, smoothed (lambda).", lambda lane: lane.rates.arrivals_hz),
    ("edge_api_service_rate", "gauge", "Requests a second that one worker can answer (mu).", lambda lane: lane.rates.service_hz),
    ("edge_api_utilisation", "gauge", "lambda / (n mu) (rho).", lambda lane: lane.rates.utilisation(lane.workers)),
)


def _latency(lines: list[str], lanes: Iterable[Lane]) -> None:
    name = "edge_api_request_seconds"
    lines += [f"# HELP {name} From a request's arrival to its answer.", f"# TYPE {name} histogram"]
    for lane in lanes:
        snapshot = lane.totals.total.snapshot()
        for bound_s in BOUNDS_S:
            below = sum(count for index, count in snapshot.counts.items() if bounds_us(index)[1] <= bound_s * 1e6)
            lines.append(f'{name}_bucket{{{_model(lane)},le="{bound_s}"}} {below}')
        lines.append(f'{name}_bucket{{{_model(lane)},le="+Inf"}} {lane.totals.answered}')
        lines.append(f"{name}_sum{{{_model(lane)}}} {lane.totals.total_ns / 1e9}")
        lines.append(f"{name}_count{{{_model(lane)}}} {lane.totals.answered}")


def _family(lines: list[str], name: str, kind: str, text: str, values: Iterable[tuple[str, float]]) -> None:
    lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{{{labels}}} {value}" if labels else f"{name} {value}" for labels, value in values]


def _model(lane: Lane) -> str:
    return f'model="{lane.name}"'
