"""What a window costs on top of the bare runtime call: queue, steps, the hop to the worker's process and back, all of it.

The bare calls and the windows are made at the same pace in the same run, the bare ones half before and half after, so that
both see the machine in the same moods.
"""

from __future__ import annotations

import argparse
import json
import threading
from pathlib import Path

from benchmarks.bench_engine import Bench, bench_engine
from edge_agent.bundle.golden import load_cases
from edge_agent.clock import SystemClock
from edge_agent.runtimes.choose import load_runtime

WINDOWS = 2000
RATE_HZ = 200.0
WARM = 50


def hop(bundle: Path | None = None, samples: Path | None = None, *, windows: int = WINDOWS, rate_hz: float = RATE_HZ) -> dict[str, object]:
    """Microseconds at p50 and p99: bare call, the same call in the worker, hop, whole window, and what it adds to the bare call."""
    with bench_engine(bundle, samples) as bench:
        bare = _bare_us(bench, windows // 2, rate_hz)
        bench.run(windows, rate_hz)
        bench.wait_ended(windows / rate_hz + 30)
        bare += _bare_us(bench, windows // 2, rate_hz)
        times = [prediction.times for prediction in bench.predictions[WARM:]]
        rows = {
            "bare": bare,
            "model": [t.model_us for t in times],
            "hop": [t.infer_us - t.model_us for t in times],
            "queue": [t.queue_us for t in times],
            "steps": [t.preprocess_us + t.postprocess_us for t in times],
            "window": [t.total_us for t in times],
        }
        figures: dict[str, object] = {name: _quantiles(values) for name, values in rows.items()}
        whole, alone = _quantiles(rows["window"]), _quantiles(bare)
        figures["added"] = {key: round(whole[key] - alone[key], 1) for key in whole}
        figures["model_name"] = f"{bench.bundle.manifest.name}@{bench.bundle.manifest.version}"
        figures["windows"], figures["rate_hz"] = len(times), rate_hz
        return figures


def lines(figures: dict[str, object]) -> list[str]:
    titles = {
        "bare": "bare runtime call, own process",
        "model": "the call in the worker",
        "hop": "hop to the worker and back",
        "queue": "from source thread to main thread",
        "steps": "preprocess and postprocess",
        "window": "whole window, sample to verdict",
        "added": "added to the bare call",
    }
    text = [f"  {figures['model_name']}, {figures['windows']} windows at {figures['rate_hz']} Hz        p50 us     p99 us"]
    for name, title in titles.items():
        row = figures[name]
        assert isinstance(row, dict)
        text.append(f"  {title:40} {row['p50_us']:10.1f} {row['p99_us']:10.1f}")
    return text


def _bare_us(bench: Bench, runs: int, rate_hz: float) -> list[float]:
    clock, pause = SystemClock(), threading.Event()
    runtime = load_runtime(bench.bundle.manifest, bench.bundle.folder)
    inputs = load_cases(bench.bundle.manifest, bench.bundle.folder)[0].inputs
    times = []
    for _ in range(runs + WARM):
        pause.wait(1 / rate_hz)
        started_ns = clock.monotonic_ns()
        runtime.run(inputs)
        times.append((clock.monotonic_ns() - started_ns) / 1000)
    runtime.close()
    return times[WARM:]


def _quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {f"p{q}_us": round(ordered[min(len(ordered) - 1, len(ordered) * q // 100)], 1) for q in (50, 99)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hop", description=__doc__)
    parser.add_argument("--bundle", type=Path, help="a packed bundle instead of the tiny model; needs --samples")
    parser.add_argument("--samples", type=Path, help="a recording that fits the bundle (.npz, .csv, .jsonl)")
    parser.add_argument("--windows", type=int, default=WINDOWS)
    parser.add_argument("--rate-hz", type=float, default=RATE_HZ)
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    args = parser.parse_args()
    if (args.bundle is None) != (args.samples is None):
        parser.error("--bundle and --samples go together")
    figures = hop(args.bundle, args.samples, windows=args.windows, rate_hz=args.rate_hz)
    print(json.dumps(figures, indent=2) if args.json else "\n".join(lines(figures)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
