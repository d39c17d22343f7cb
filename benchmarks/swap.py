"""Samples lost while the served model is swapped over and over, each time through a whole trial, at 100 Hz."""

from __future__ import annotations

import argparse
import json

from benchmarks.bench_engine import Bench, bench_engine, wait_until
from edge_agent.clock import SystemClock, monotonic_s

SWAPS = 100
RATE_HZ = 100.0
SAMPLES_PER_SWAP = 10


def swap(*, swaps: int = SWAPS, rate_hz: float = RATE_HZ) -> dict[str, object]:
    """Samples produced, answered, lost, answered twice; milliseconds of a trial, of a switch, and the longest pause between answers."""
    clock = SystemClock()
    tries_ms: list[float] = []
    switches_ms: list[float] = []
    with bench_engine() as bench:
        bench.run(int(swaps * SAMPLES_PER_SWAP * 1.5), rate_hz)
        for turn in range(swaps):
            _wait_answer(bench)
            to = bench.bundle if turn % 2 else bench.other
            began_s = monotonic_s(clock)
            report = bench.engine.try_candidate(to.manifest.name, to.digest, to.manifest, to.folder)
            if not report.passed:
                raise SystemExit(f"a candidate was refused: {'; '.join(report.reasons)}")
            tried_s = monotonic_s(clock)
            bench.engine.switch(to.manifest.name, to.digest)
            tries_ms.append((tried_s - began_s) * 1000)
            switches_ms.append((monotonic_s(clock) - tried_s) * 1000)
        counters = bench.wait_ended(swaps * SAMPLES_PER_SWAP * 1.5 / rate_hz + 60).counters
        return {
            "swaps": swaps,
            "rate_hz": rate_hz,
            "samples": counters.produced,
            **_account(bench, counters.produced),
            **_ms(tries_ms, switches_ms),
        }


def _wait_answer(bench: Bench) -> None:
    seen = len(bench.predictions)
    wait_until(lambda: len(bench.predictions) > seen, 30, "the next answer")


def _account(bench: Bench, produced: int) -> dict[str, object]:
    answered = [prediction.last_seq for prediction in bench.predictions]
    during = max((p.times.total_us for p in bench.predictions), default=0.0) / 1000
    return {
        "samples_lost": produced - len(set(answered)),
        "samples_twice": len(answered) - len(set(answered)),
        "by_version": {v: sum(p.version == v for p in bench.predictions) for v in sorted({p.version for p in bench.predictions})},
        "slowest_answer_ms": round(during, 1),
    }


def _ms(tries_ms: list[float], switches_ms: list[float]) -> dict[str, object]:
    return {
        "trial_p50_ms": round(sorted(tries_ms)[len(tries_ms) // 2], 1),
        "switch_p50_ms": round(sorted(switches_ms)[len(switches_ms) // 2], 1),
        "switch_max_ms": round(max(switches_ms), 1),
    }


def lines(figures: dict[str, object]) -> list[str]:
    return [
        f"  {figures['swaps']} swaps at {figures['rate_hz']} Hz, {figures['samples']} samples, by version {figures['by_version']}",
        f"  samples lost {figures['samples_lost']}, answered twice {figures['samples_twice']}",
        f"  slowest answer {figures['slowest_answer_ms']} ms",
        f"  trial {figures['trial_p50_ms']} ms p50, switch {figures['switch_p50_ms']} ms p50, {figures['switch_max_ms']} ms at most",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.swap", description=__doc__)
    parser.add_argument("--swaps", type=int, default=SWAPS)
    parser.add_argument("--rate-hz", type=float, default=RATE_HZ)
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    args = parser.parse_args()
    figures = swap(swaps=args.swaps, rate_hz=args.rate_hz)
    print(json.dumps(figures, indent=2) if args.json else "\n".join(lines(figures)))
    return 0 if figures["samples_lost"] == 0 else 1


if __name__ == "__main__":
    raise SystemExit(main())
