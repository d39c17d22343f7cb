"""Every figure, on this machine: ``make bench`` or ``python -m benchmarks [NAME ...] [--json FILE]``.

The name ``convert`` stands for all of the converter's (``make bench-convert``; ``docs/benchmarks-converting.md`` says what each means),
``inference`` for all of the inference plane's (``make bench-inference``; ``docs/benchmarks-inference.md``).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import deploy, footprint, handover, hop, install_size, swap
from benchmarks.assets import measure as assets
from benchmarks.convert import (
    choice,
    cold,
    corpus,
    fidelity,
    gate,
    imbalance,
    memory,
    never_worse,
    outliers,
    peers,
    pruning,
    representation,
    resolves,
)
from benchmarks.inference import api_cost, clients, hangs, idle, kills, overload, soak, start_and_size, swap_memory, swaps


@dataclass(frozen=True, slots=True)
class Figure:
    """A measurement and how to print it; ``quick`` is a short one of the same, where there is one."""

    title: str
    measure: Callable[[], dict[str, object]]
    lines: Callable[[dict[str, object]], list[str]]
    quick: Callable[[], dict[str, object]] | None = None


FIGURES: Mapping[str, Figure] = {
    "handover": Figure("An array to another process and back, beside multiprocessing", handover.handover, handover.lines),
    "hop": Figure("Added latency of a window over a bare runtime call, same run", hop.hop, hop.lines),
    "swap": Figure("Samples lost in 100 swaps at 100 Hz", swap.swap, swap.lines),
    "footprint": Figure("Memory of each device process at rest, one model", footprint.footprint, footprint.lines),
    "assets": Figure("Published models through the whole engine: does each keep its figure?", assets.measure, assets.lines),
    "deploy": Figure("Wall time of an update over the air, inference running", deploy.deploy, deploy.lines),
    "fidelity": Figure("Noise that int8 brings to three networks, beside ONNX Runtime's quantizer", fidelity.measure, fidelity.lines),
    "outliers": Figure("Accuracy after calibration on corrupt samples, beside the same", outliers.measure, outliers.lines),
    "imbalance": Figure("int8 of networks whose channels differ up to 4096 times, beside the same", imbalance.measure, imbalance.lines),
    "memory": Figure("Memory of a build with 100 and 10,000 samples", memory.measure, memory.lines),
    "cold": Figure("A build from nothing: ResNet-8 to int8 TensorFlow Lite with 100 samples", cold.measure, cold.lines),
    "pruning": Figure("Pruning and int8 from the file, without labels", pruning.measure, pruning.lines),
    "representation": Figure("Two ways to hold a network in memory", representation.measure, representation.lines),
    "corpus": Figure("Every model into every format: loads, runs, agrees, and the same twice", corpus.measure, corpus.lines),
    "never-worse": Figure(
        "Larger or slower than the source, let out unsaid, beside ONNX Runtime's tools", never_worse.measure, never_worse.lines
    ),
    "gate": Figure("Judgements of the gate against what is really lost", gate.measure, gate.lines),
    "choice": Figure("What the search chose against the quickest of all", choice.measure, choice.lines),
    "peers": Figure("Float ONNX to int8, beside the peers in their newest versions", peers.measure, peers.lines),
    "install-size": Figure("Size of what each extra installs", install_size.install_size, install_size.lines),
    "resolves": Figure("Every extra with the newest and the oldest versions allowed", resolves.measure, resolves.lines),
    "api-cost": Figure(
        "A request over the V2 protocol: latency and the server's processor time, beside the peers",
        api_cost.measure,
        api_cost.lines,
        partial(api_cost.measure, quick=True),
    ),
    "clients": Figure(
        "Calls that NVIDIA's unmodified clients can make", clients.measure, clients.lines, partial(clients.measure, quick=True)
    ),
    "swaps": Figure(
        "Swaps under four flat-out clients and a pipeline, beside the peers", swaps.measure, swaps.lines, partial(swaps.measure, quick=True)
    ),
    "swap-memory": Figure(
        "Memory of all processes while 42 MB are swapped, beside the peers",
        swap_memory.measure,
        swap_memory.lines,
        partial(swap_memory.measure, quick=True),
    ),
    "kills": Figure("Workers killed under load, beside the peers", kills.measure, kills.lines, partial(kills.measure, quick=True)),
    "hangs": Figure(
        "Workers that hang, and whether a server says so, beside the peers", hangs.measure, hangs.lines, partial(hangs.measure, quick=True)
    ),
    "idle": Figure(
        "Processor time at rest and of slow pipelines, beside bare runtime calls",
        idle.measure,
        idle.lines,
        partial(idle.measure, quick=True),
    ),
    "start-and-size": Figure(
        "Start to first answer, memory by process, restart of a worker, beside the peers",
        start_and_size.measure,
        start_and_size.lines,
        partial(start_and_size.measure, quick=True),
    ),
    "overload": Figure(
        "A source five times too fast, for minutes", overload.measure, overload.lines, partial(overload.measure, quick=True)
    ),
    "soak": Figure(
        "An hour at 100 Hz with something harmed every few seconds: is anything unaccounted for?",
        soak.measure,
        soak.lines,
        partial(soak.measure, quick=True),
    ),
}

ALONE = frozenset({"soak"})
"""Taken only when asked for by name: an hour, and no figure but a verdict."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "convert": (
        "install-size",
        "cold",
        "fidelity",
        "outliers",
        "memory",
        "imbalance",
        "pruning",
        "corpus",
        "never-worse",
        "gate",
        "choice",
        "peers",
    ),
    "inference": ("handover", "api-cost", "clients", "swaps", "swap-memory", "kills", "hangs", "idle", "start-and-size", "overload"),
}


def machine() -> str:
    """The machine the figures are of, in words."""
    facts = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in facts if line.startswith("model name")), "unknown processor")
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{platform.machine()}, {os.cpu_count()} cores, {model}, {system}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which figures: {', '.join((*FIGURES, *GROUPS))} (default all)")
    parser.add_argument(
        "--quick", action="store_true", help="a short run of those that have one: to see that they work, not for their numbers"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write them as JSON")
    parser.add_argument("--assets", type=Path, metavar="FOLDER", help="published models and data (default $EDGE_ASSETS, ../shared/assets)")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped on the way out
    if args.assets:
        os.environ["EDGE_ASSETS"] = str(args.assets)
    names = [member for name in args.names for member in GROUPS.get(name, (name,))]
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        parser.error(f"unknown figure {unknown[0]!r}; known: {', '.join((*FIGURES, *GROUPS))}")
    print(f"machine: {machine()}\nload: {os.getloadavg()[0]:.1f}\n", flush=True)
    results: dict[str, object] = {"machine": machine()}
    failed = []
    for name in names or [name for name in FIGURES if name not in ALONE]:
        figure = FIGURES[name]
        began, load = time.monotonic(), os.getloadavg()[0]
        print(f"{name}: {figure.title}", flush=True)
        try:
            results[name] = result = (figure.quick or figure.measure)() if args.quick else figure.measure()
            print("\n".join(figure.lines(result)))
            if result.get("violations"):
                failed.append(name)
        except Exception:  # the other figures are worth having all the same; the exit status and the last line say that one is missing
            traceback.print_exc()
            failed.append(name)
        print(f"  (taken in {time.monotonic() - began:.0f} s; load before: {load:.1f})\n", flush=True)
        if args.json:
            args.json.write_text(json.dumps(results, indent=2) + "\n")
    if failed:
        print(f"not taken, or with violations: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
