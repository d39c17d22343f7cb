"""From nothing to the first answer, and what each process takes with one small model loaded and used.

PSS (proportional set size) shares out pages that several processes map, so the sum is what the server costs. Ours is also measured with
the same network as TensorFlow Lite, and says itself how long a killed worker was gone.
"""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.convert.files import table
from benchmarks.inference.contenders import EVERYONE, Contender, models_of
from benchmarks.inference.loads import quantiles
from benchmarks.inference.nets import NETS
from benchmarks.inference.processes import pss_kib
from benchmarks.inference.server import Server, ServerFailed, eventually
from benchmarks.inference.stand import Order, Play, Stand
from benchmarks.inference.truth import check_answers, true_answers

NET = "sense"
STARTS, QUICK_STARTS = 5, 1
RESTARTS, QUICK_RESTARTS = 10, 3
USES, SETTLE_S = 30, 3.0
BETWEEN_S = 1.2
RATE_HZ = 100.0
SAMPLES = 100
AFTER = re.compile(r"worker_restarted: .* after (\d+) ms")


def measure(*, quick: bool = False, contenders: Sequence[Contender] = EVERYONE) -> dict[str, object]:
    """By server: seconds to the first answer, MiB of PSS by process and together; or why it is not at hand. ``restart_ms``: how long killed
    workers were gone."""
    starts, ours = QUICK_STARTS if quick else STARTS, [contender for contender in contenders if contender.ours]
    with models_of(NET) as models, TemporaryDirectory(prefix="edge-tflite-") as name:
        wanted = true_answers(models)
        found = {c.title: _medians([_one(c, models, partial(check_answers, wanted=wanted)) for _ in range(starts)]) for c in contenders}
        if ours:
            tflite = {NET: _as_tflite(models[NET], Path(name))}
            found |= {f"{c.title}, TensorFlow Lite": _medians([_one(c, tflite, _ask_zeros) for _ in range(starts)]) for c in ours}
    return {"servers": found, "restart_ms": _restarts(QUICK_RESTARTS if quick else RESTARTS) if ours else []}


def _one(contender: Contender, models: dict[str, Path], use: Callable[[Server], None]) -> dict[str, Any] | str:
    """``use`` asks once and sees to it that the answer is right."""
    with TemporaryDirectory(prefix="edge-start-") as name:
        began_s = time.monotonic()
        with contender.start(Path(name) / "room", models) as server:
            if isinstance(server, str):
                return server
            use(server)
            first_s = time.monotonic() - began_s
            for _ in range(USES):
                use(server)
            time.sleep(SETTLE_S)
            return {"first_s": first_s, "processes": [(process.name, pss_kib(process.pid) / 1024) for process in server.processes()]}


def _medians(each: Sequence[dict[str, Any] | str]) -> dict[str, Any] | str:
    """The starts as one; what was said where it is not at hand."""
    runs = [one for one in each if not isinstance(one, str)]
    if not runs:
        return str(each[0])
    sums = [sum(mib for _, mib in one["processes"]) for one in runs]
    first = statistics.median(one["first_s"] for one in runs)
    return {"first_s": first, "sum_mib": statistics.median(sums), "processes": runs[-1]["processes"]}


def _as_tflite(source: Path, folder: Path) -> Path:
    """A bundle of the same network in float32, by the command as people give it."""
    np.savez(folder / "samples.npz", x=np.concatenate([NETS[NET].sample(seed) for seed in range(SAMPLES)]))
    out = folder / f"{NET}.edgemodel"
    words = [
        "--samples",
        str(folder / "samples.npz"),
        "--profile",
        "generic-x86-64",
        "--target",
        "tflite",
        "--scheme",
        "float32",
        "--force",
    ]
    command = [sys.executable, "-m", "converters", "build", str(source), *words, "--no-search", "-q", "--name", NET, "--version", "1"]
    done = subprocess.run([*command, "-o", str(out)], capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise RuntimeError(f"edge-convert ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return out


def _ask_zeros(server: Server) -> None:
    """A request made of what the server says about the model."""
    told = json.loads(server.call("GET", f"/v2/models/{NET}")[1])
    given = [{**one, "shape": [max(1, d) for d in one["shape"]]} for one in told["inputs"]]
    body = {"inputs": [{**one, "data": [0.0] * prod(one["shape"])} for one in given]}
    status, answer = server.call("POST", f"/v2/models/{NET}/infer", json.dumps(body).encode())
    if status != 200:
        raise ServerFailed(f"{server.title}: answered {status}: {answer[:300]!r}")


def _restarts(count: int) -> list[float]:
    """Milliseconds from the death of a worker that was in use to its successor's being ready, as the engine told them."""
    order = Order(NET, api=False, play=Play(RATE_HZ))
    with TemporaryDirectory(prefix="edge-restarts-") as name, Stand(Path(name) / "room", order) as stand:
        time.sleep(BETWEEN_S)
        for turn in range(count):
            os.kill(stand.model_processes()[0].pid, signal.SIGKILL)
            if eventually(lambda told=turn: len(_told(stand)) > told, 10.0) is None:  # type: ignore[misc]
                raise ServerFailed("a killed worker did not come back")
            time.sleep(BETWEEN_S)
        return _told(stand)


def _told(stand: Stand) -> list[float]:
    return [float(found.group(1)) for event in stand.status()["events"] if (found := AFTER.match(event))]


def lines(figures: dict[str, Any]) -> list[str]:
    rows = [["server, one model", "first answer s", "PSS MiB", "by process"]]
    for title, f in figures["servers"].items():
        if not isinstance(f, str):
            parts = ", ".join(f"{name} {mib:.1f}" for name, mib in f["processes"])
            rows.append([title, f"{f['first_s']:.2f}", f"{f['sum_mib']:.1f}", parts])
    text = [*table(rows), *(f"  {title}: {f}" for title, f in figures["servers"].items() if isinstance(f, str))]
    restarts = figures["restart_ms"]
    return text + (
        [f"  a killed worker serves again after {quantiles(restarts, 0.5)[0]:.0f} ms p50, {max(restarts):.0f} ms at most"]
        if restarts
        else []
    )
