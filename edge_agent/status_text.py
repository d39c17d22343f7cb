"""What ``edge-agent status`` and ``edge-agent models`` show of the agent's answer. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any


def status_lines(status: Mapping[str, Any]) -> Iterator[str]:
    """The whole of a status answer."""
    broker = status["broker"]
    link = "no broker configured" if broker is None else f"broker {broker['host']} {'connected' if broker['connected'] else 'AWAY'}"
    yield f"{status['device']} ({status['profile']}), edge-agent {status['agent_version']}, pid {status['pid']}, {link}"
    yield f"outbox: {status['outbox']['queued']} waiting, {status['outbox']['dropped']} dropped"
    yield from model_lines(status["models"])
    digests = {model["digest"] for model in status["models"]}
    for pipeline in status["pipelines"]:
        yield from _pipeline(pipeline, digests)
    update = status["update"]
    if update["state"] != "IDLE" or update["reason"]:
        what = update["command"] or {}
        yield f"update: {update['state']} {what.get('model', '')}@{what.get('version', '')} {update['reason']}".rstrip()
    yield from _processes(status)


def model_lines(models: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One line a model, and one more for why it does not serve."""
    for m in models:
        version = f"@{m['version']}" if m["version"] else ""
        words = [m["state"], *_manner(m)]
        words += [f"before it {m['previous']['version']}"] if m.get("previous") else []
        yield f"model {m['name']}{version}: {', '.join(words)}  {m['digest'][:12]}".rstrip()
        if m.get("last_error"):
            yield f"  error: {m['last_error']}"


def _manner(model: Mapping[str, Any]) -> Iterator[str]:
    """How it is run and what became of that, as far as it is out of the ordinary."""
    pids, lane = model.get("pids") or (), model.get("lane", "isolated")
    if lane != "isolated":
        yield lane
    if len(pids) > 1:
        yield f"{len(pids)} workers"
    if model.get("options"):
        yield model["options"]
    if lane == "isolated" and "requests" in model:
        yield f"{model['requests']} requests"
    for count, what in ((model.get("errors"), "failed"), (model.get("restarts"), "restarts")):
        if count:
            yield f"{count} {what}"


def _pipeline(p: Mapping[str, Any], digests: Collection[str]) -> Iterator[str]:
    """``digests`` are what serves: a candidate among them has passed, and is one no more."""
    c = p["counters"]
    restarts = f", {p['restarts']} restarts" if p["restarts"] else ""
    yield (
        f"pipeline {p['name']}: {p['state']}, {c['produced']} samples in, {c['processed']} answered, "
        f"{c['dropped']} dropped, {c['failed']} failed, {c['in_flight']} in flight{restarts}"
    )
    for name, s in p["sinks"].items():
        counts = ", ".join(f"{s[word]} {word}" for word in ("given", "emitted", "dropped", "failed", "waiting"))
        yield f"  sink {name}: {counts}"
    shadow = p.get("shadow")
    if shadow and shadow["digest"] not in digests:
        yield f"  beside it {shadow['digest'][:12]}: {shadow['windows']} windows, {shadow['disagreed']} differ, {shadow['failed']} failed"
    if p["last_error"]:
        yield f"  last error: {p['last_error']}"


def _processes(status: Mapping[str, Any]) -> Iterator[str]:
    metrics = status["metrics"] or {}
    measured = {p["pid"]: p for p in metrics.get("processes", [])}
    for process in status["processes"]:
        m = measured.get(process["pid"], {})
        pss = f"{m['pss_mib']:.1f} MiB PSS" if m.get("pss_mib") is not None else ""
        cpu = f"{m['cpu_percent']:.1f} % CPU" if m.get("cpu_percent") is not None else ""
        yield f"  {process['role']:32} pid {process['pid']:<8} {pss:>16} {cpu:>12}".rstrip()
