"""A thousand swaps while four clients ask flat out and a pipeline runs at 100 Hz; beside it reloads of the peers under the same clients.

Ours goes from one version to another and back, each time through a whole trial; the peers load the file again that they serve.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.convert.files import table
from benchmarks.inference.contenders import MLSERVER, MLSERVER_ALONE, TRITON, Contender, models_of, standing
from benchmarks.inference.loads import Outcome, load, outcome, quantiles
from benchmarks.inference.nets import NETS
from benchmarks.inference.server import Server, ServerFailed
from benchmarks.inference.stand import Order, Play, Stand

NET = "sense"
CLIENTS = 4
RATE_HZ = 100.0
SWAPS, RELOADS = 1000, 8
QUICK_SWAPS, QUICK_RELOADS = 100, 2
STEADY_S, QUICK_STEADY_S = 10.0, 3.0
BETWEEN_S = 0.05
ALLOWED_MS, ALLOWED_TIMES = 50.0, 2.0
PEERS = (TRITON, MLSERVER, MLSERVER_ALONE)


def measure(*, quick: bool = False, ours: bool = True, peers: Sequence[Contender] = PEERS) -> dict[str, object]:
    """By server: swaps, requests, failed, the slowest request in steady state and while swapping, what a swap took; ours also samples
    produced, lost and answered twice, and answers that were neither version's."""
    steady_s = QUICK_STEADY_S if quick else STEADY_S
    found: dict[str, Any] = {}
    absent: dict[str, str] = {}
    if ours:
        with _stand() as stand:
            found[stand.title] = _ours(stand, QUICK_SWAPS if quick else SWAPS, steady_s)
    for contender in peers:
        with models_of(NET) as models, standing([contender], models) as alone:
            absent.update(alone.absent)
            for title, server in alone.servers.items():
                found[title] = _swapping(server, QUICK_RELOADS if quick else RELOADS, steady_s)[0]
    return {"absent": absent, "clients": CLIENTS, "rate_hz": RATE_HZ, "servers": found}


@contextmanager
def _stand() -> Iterator[Stand]:
    with TemporaryDirectory(prefix="edge-swaps-") as name, Stand(Path(name) / "room", Order(NET, play=Play(RATE_HZ))) as stand:
        yield stand


def _ours(stand: Stand, swaps: int, steady_s: float) -> dict[str, Any]:
    known = set(outcome(stand, NETS[NET], clients=1, seconds=0.3).answers)
    stand.swap(1)
    known |= set(outcome(stand, NETS[NET], clients=1, seconds=0.3).answers)
    if len(known) != len(stand.order.versions):
        raise ServerFailed(f"two versions gave {len(known)} different answers to one input")
    found, told = _swapping(stand, swaps, steady_s)
    found["strange_answers"] = sum(count for answer, count in told.answers.items() if answer not in known)
    return {**found, **account(stand)}


def account(stand: Stand) -> dict[str, Any]:
    """What became of the pipeline's samples: its own counters, and the numbers in the file that its sink wrote."""
    counters = stand.status()["pipelines"][0]["counters"]
    lines = [json.loads(line) for line in stand.predictions.read_bytes().split(b"\n")[:-1]]
    seen = [int(line["first_seq"]) for line in lines]
    accounted = counters["processed"] + counters["dropped"] + counters["failed"] + counters["in_flight"]
    return {
        "samples": counters["produced"],
        "samples_lost": max(seen) + 1 - len(set(seen)),
        "samples_twice": len(seen) - len(set(seen)),
        "samples_unaccounted": counters["produced"] - accounted,
        "slowest_answer_ms": max(line["times"]["total_us"] for line in lines) / 1000,
        "counters": counters,
    }


def _swapping(server: Server, swaps: int, steady_s: float) -> tuple[dict[str, Any], Outcome]:
    steady = outcome(server, NETS[NET], clients=CLIENTS, seconds=steady_s)
    took_ms: list[float] = []
    with load(server, NETS[NET], clients=CLIENTS) as running:
        running.begin()
        time.sleep(BETWEEN_S)
        for _ in range(swaps):
            began_s = time.monotonic()
            server.reload(NET)
            took_ms.append((time.monotonic() - began_s) * 1000)
            time.sleep(BETWEEN_S)
        found = running.end()
    half_ms, most_ms = quantiles(took_ms, 0.5, 1.0)
    facts = {
        "swaps": swaps,
        "requests": found.count,
        "failed": found.failed,
        "reasons": found.reasons,
        "steady_failed": steady.failed,
        "steady_slowest_ms": steady.slowest_ms(),
        "slowest_ms": found.slowest_ms(),
        "p999_ms": found.quantile_us(0.999) / 1000,
        "within": found.slowest_ms() <= max(ALLOWED_MS, ALLOWED_TIMES * steady.slowest_ms()),
        "swap_p50_ms": half_ms,
        "swap_max_ms": most_ms,
    }
    return facts, found


def lines(figures: dict[str, Any]) -> list[str]:
    text = [f"  {title}: {why}" for title, why in figures["absent"].items()]
    rows = [["server", "swaps", "requests", "failed", "slowest ms", "p99.9 ms", "steady slowest ms", "swap p50 ms", "swap max ms"]]
    for title, f in figures["servers"].items():
        times = [f"{f[key]:.1f}" for key in ("slowest_ms", "p999_ms", "steady_slowest_ms", "swap_p50_ms", "swap_max_ms")]
        rows.append([title, str(f["swaps"]), str(f["requests"]), str(f["failed"]), *times])
    text += table(rows)
    text += [_pipeline_line(title, f) for title, f in figures["servers"].items() if "samples" in f]
    return [*text, *(f"  {title}: {'; '.join(f['reasons'])}" for title, f in figures["servers"].items() if f["reasons"])]


def _pipeline_line(title: str, f: dict[str, Any]) -> str:
    samples = f"{f['samples']} samples, lost {f['samples_lost']}, twice {f['samples_twice']}, unaccounted {f['samples_unaccounted']}"
    answers = f"slowest answer {f['slowest_answer_ms']:.1f} ms; answers of neither version {f['strange_answers']}"
    return f"  {title}, pipeline at {RATE_HZ:g} Hz: {samples}, {answers}"
