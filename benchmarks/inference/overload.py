"""A source five times as fast as the model, for minutes: memory stays, every sample is accounted for, and what is inferred is fresh.

The rate is five times what the model takes alone. Frame age is from when a sample was due to when the model was asked with it.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.inference.loads import quantiles
from benchmarks.inference.nets import NETS, bare_session
from benchmarks.inference.processes import rss_kib
from benchmarks.inference.server import ServerFailed, eventually
from benchmarks.inference.stand import Order, Play, Stand

NET = "slow"
TIMES = 5.0
MINUTES, QUICK_MINUTES = 10.0, 0.5
SETTLE_SHARE = 0.1
SAMPLE_S = 0.5
POLICIES = ("latest_only", "drop_oldest")
QUEUE = 64
UNDISTURBED = 0.1
"""Share of the calls alone that are as quick or quicker than the time that is taken for the model's own."""


def measure(*, quick: bool = False) -> dict[str, object]:
    """By policy: samples, what became of them, how many are unaccounted for, growth of RSS (MiB) after the first tenth, age of frames when
    they are inferred (ms) beside what ``latest_only`` allows: one period and one inference."""
    minutes = QUICK_MINUTES if quick else MINUTES
    bare_ms = _bare_ms()
    return {"minutes": minutes, "bare_ms": bare_ms, "policies": {policy: _overloaded(policy, bare_ms, minutes) for policy in POLICIES}}


def _bare_ms() -> float:
    with TemporaryDirectory(prefix="edge-overload-") as name:
        session = bare_session(NETS[NET].save(Path(name) / "model.onnx"))
        feed, took = {"x": NETS[NET].sample()}, []
        for _ in range(100):
            began_ns = time.perf_counter_ns()
            session.run(None, feed)
            took.append((time.perf_counter_ns() - began_ns) / 1e6)
        return quantiles(took, UNDISTURBED)[0]


def _overloaded(policy: str, bare_ms: float, minutes: float) -> dict[str, Any]:
    rate_hz = TIMES * 1000 / bare_ms
    play = Play(rate_hz, int(rate_hz * minutes * 60), policy, QUEUE)
    with TemporaryDirectory(prefix="edge-overload-") as name, Stand(Path(name) / "room", Order(NET, api=False, play=play)) as stand:
        rss = _watch(stand, minutes * 60)
        if eventually(lambda: bool(stand.status()["pipelines"][0]["state"] == "ended"), 60.0) is None:
            raise ServerFailed(f"the pipeline did not end: {stand.status()['pipelines']}")
        counters = stand.status()["pipelines"][0]["counters"]
        answers = [json.loads(line) for line in stand.predictions.read_bytes().split(b"\n")[:-1]]
    ages = [(a["times"]["queue_us"] + a["times"]["preprocess_us"]) / 1000 for a in answers]
    model = statistics.median(a["times"]["infer_us"] for a in answers) / 1000
    half, most_of, most = quantiles(ages, 0.5, 0.99, 1.0)
    return {
        "rate_hz": rate_hz,
        "counters": counters,
        "unaccounted": counters["produced"] - sum(counters[key] for key in ("processed", "dropped", "failed", "in_flight")),
        "answers_written": len(answers),
        "rss_growth_mib": rss,
        "age_p50_ms": half,
        "age_p99_ms": most_of,
        "age_max_ms": most,
        "allowed_ms": 1000 / rate_hz + model,
    }


def _watch(stand: Stand, seconds: float) -> dict[str, float]:
    """By role: the most after the first tenth, less the median within it, in MiB."""
    early: dict[str, list[float]] = {}
    late: dict[str, float] = {}
    began_s = time.monotonic()
    roles = dict(stand.status()["processes"])
    while (gone_s := time.monotonic() - began_s) < seconds:
        for role, pid in roles.items():
            mib = rss_kib(pid) / 1024
            if gone_s < seconds * SETTLE_SHARE:
                early.setdefault(role, []).append(mib)
            else:
                late[role] = max(late.get(role, 0.0), mib)
        time.sleep(SAMPLE_S)
    return {role: late[role] - statistics.median(values) for role, values in early.items()}


def lines(figures: dict[str, Any]) -> list[str]:
    text = [f"  {figures['minutes']:g} minutes each; the model alone takes {figures['bare_ms']:.2f} ms"]
    for policy, f in figures["policies"].items():
        c = f["counters"]
        kept = f"{c['produced']} samples at {f['rate_hz']:.0f} Hz: {c['processed']} processed, {c['dropped']} dropped, {c['failed']} failed"
        text.append(
            f"  {policy}: {kept}, {c['in_flight']} in flight, unaccounted {f['unaccounted']}; {f['answers_written']} answers written"
        )
        ages = f"p50 {f['age_p50_ms']:.1f} ms, p99 {f['age_p99_ms']:.1f} ms, at most {f['age_max_ms']:.1f} ms"
        text.append(f"    age of a frame: {ages}; one period and one inference are {f['allowed_ms']:.1f} ms")
        text.append("    RSS grew by " + ", ".join(f"{role} {mib:+.1f} MiB" for role, mib in f["rss_growth_mib"].items()))
    return text
