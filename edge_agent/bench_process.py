"""The process that holds one model while it is measured. It does as it is told, a JSON line at a time, and never more than asked."""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge_agent.bench import random_array
from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import EdgeError, ModelError
from edge_agent.inference import process
from edge_agent.ports import Runtime
from edge_agent.runtimes.options import RuntimeOptions, options_from_json

_AFTERGLOW_S = 0.002
"""Threads that spin after an inference are charged to it: processor time is read this long after the last one."""


def serve(connection: socket.socket, clock: Clock) -> int:
    """Answer orders until the other end closes. A refusal is an answer too: ``{"error": ...}``."""
    bench = _Bench(clock)
    orders: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {"load": bench.load, "round": bench.round, "ops": bench.ops}
    with connection.makefile("r") as lines:
        for line in lines:
            order = json.loads(line)
            try:
                answer = orders[order["do"]](order)
            except (EdgeError, MemoryError) as error:
                answer = {"error": str(error) or "not enough memory"}
            connection.sendall(json.dumps(answer).encode() + b"\n")
    return 0


class _Bench:
    """One model, its inputs, and a call that runs it the way a worker does: bound to memory where it can be."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runtime: Runtime | None = None
        self._infer: Callable[[], None] | None = None
        self._slot: dict[str, Any] = {}
        self._feeds: list[dict[str, Any]] = []
        self._turn = 0
        self._path, self._options = Path(), RuntimeOptions()

    def load(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Load the model of ``order`` and warm it up; the fields of :class:`~edge_agent.bench.Loaded`."""
        self._path, self._options = Path(order["path"]), options_from_json(order["options"])
        cases = self._import(order)
        base_mib, base_own_mib = _status_mib("VmRSS"), _status_mib("RssAnon")
        began_ns = self._clock.monotonic_ns()
        runtime = self._runtime = self._open(order)
        init_ms = (self._clock.monotonic_ns() - began_ns) / 1e6
        self._feeds = cases or [{spec.name: random_array(spec) for spec in runtime.inputs}]
        began_ns = self._clock.monotonic_ns()
        first = runtime.run(self._feeds[0])
        first_us = (self._clock.monotonic_ns() - began_ns) / 1e3
        self._bind(runtime, first)
        self._run(order["warmup"])
        return {
            "runtime": runtime.name,
            "runtime_version": runtime.version,
            "inputs": "golden" if cases else "random",
            "init_ms": init_ms,
            "first_us": first_us,
            "base_mib": base_mib,
            "loaded_mib": _status_mib("VmRSS"),
            "own_mib": max(_status_mib("RssAnon") - base_own_mib, 0.0),
            "notes": list(runtime.notes),
            "cpu_s": _cpu_us() / 1e6,
        }

    def round(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Up to ``runs`` inferences, fewer when ``seconds`` are over; their times, and what they cost."""
        before, switches = _cpu_us(), _involuntary()
        times_us = self._run(order["runs"], order["seconds"])
        switches = _involuntary() - switches
        threading.Event().wait(_AFTERGLOW_S)
        cpu_us = _cpu_us()
        costs = {"cpu_us": cpu_us - before, "involuntary": switches, "peak_mib": process.peak_rss_mib(), "cpu_s": cpu_us / 1e6}
        return {"times_us": times_us, **costs}

    def ops(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Time by node, where the runtime tells."""
        if self._runtime is None or self._runtime.name != "onnxruntime":
            return {"ops": [], "note": "the runtime's Python interface gives no times by operator"}
        from edge_agent.runtimes.onnx_profile import node_times

        return {"ops": node_times(self._path, self._options, self._feeds, order["runs"]), "note": ""}

    def _import(self, order: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Import the runtime, before anything is measured; the golden inputs of a bundle."""
        from edge_agent.runtimes.choose import check_requirement, preimport

        if not order["manifest"]:
            preimport((self._path.suffix[1:].lower(),))
            return []
        from edge_agent.bundle.manifest_reader import from_json

        manifest = from_json(order["manifest"].encode())
        check_requirement(manifest.runtime)
        preimport((manifest.runtime.name,))
        from edge_agent.bundle.golden import load_cases  # needs numpy, which comes with a runtime

        return [dict(case.inputs) for case in load_cases(manifest, Path(order["folder"]))]

    def _open(self, order: Mapping[str, Any]) -> Runtime:
        from edge_agent.bundle.manifest_reader import from_json
        from edge_agent.runtimes.choose import load_model_file, load_runtime

        if not order["manifest"]:
            return load_model_file(self._path, options=self._options)
        return load_runtime(from_json(order["manifest"].encode()), Path(order["folder"]), options=self._options)

    def _bind(self, runtime: Runtime, outputs: Mapping[str, Any]) -> None:
        shapes = [{name: array.shape for name, array in feed.items()} for feed in self._feeds]
        if all(shape == shapes[0] for shape in shapes):
            self._slot = {name: array.copy() for name, array in self._feeds[0].items()}
            self._infer = runtime.bind(self._slot, {name: array.copy() for name, array in outputs.items()})

    def _run(self, runs: int, seconds: float = float("inf")) -> list[float]:
        if self._runtime is None:
            raise ModelError("no model is loaded")
        clock, times_us = self._clock, []
        end_ns = clock.monotonic_ns() + seconds * 1e9
        for _ in range(runs):
            feed = self._feeds[self._turn % len(self._feeds)]
            self._turn += 1
            if self._infer is not None:
                for name, array in feed.items():
                    self._slot[name][...] = array
            began_ns = clock.monotonic_ns()
            if self._infer is not None:
                self._infer()
            else:
                self._runtime.run(feed)
            now_ns = clock.monotonic_ns()
            times_us.append((now_ns - began_ns) / 1e3)
            if now_ns >= end_ns:
                break
        return times_us


def _cpu_us() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return (usage.ru_utime + usage.ru_stime) * 1e6


def _involuntary() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _status_mib(key: str) -> float:
    """A size in ``/proc/self/status``; 0.0 where the kernel does not tell (RssAnon is there since Linux 4.5)."""
    words = process.status_value(key).split()
    return int(words[0]) / 1024 if words else 0.0


def main(argv: list[str] | None = None) -> int:
    """Entry of a freshly started (not forked) process."""
    parser = argparse.ArgumentParser(prog="edge_agent.bench_process", description="Holds a model while it is measured; started by bench.")
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the socket")
    arguments = parser.parse_args(argv)
    process.begin("edge-bench", os.getppid())
    return serve(socket.socket(fileno=arguments.fd), SystemClock())


if __name__ == "__main__":
    sys.exit(main())
