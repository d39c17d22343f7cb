"""A build from nothing: a fresh process, ResNet-8 as float ONNX to a calibrated int8 TensorFlow Lite file in a bundle, 100 samples.

The whole command is taken, interpreter start, proof, gate, golden cases and report included. Memory is sampled in runs of its own, since
looking at it slows a build down.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.nets.digits import images, model

NET = "resnet8"
SAMPLES = 100
RUNS = 5
MEMORY_RUNS = 3
WANTED_S, WANTED_MIB = 1.5, 150
_LOOK_S = 0.004


def measure() -> dict[str, object]:
    """Medians of :data:`RUNS` runs: wall and processor seconds; and the most memory (MiB) of a process, and of all of them together by
    proportional set size (proc(5), smaps_rollup), which counts shared pages once."""
    with tempfile.TemporaryDirectory(prefix="edge-cold-") as name:
        folder = Path(name)
        command = _command(folder)
        _timed(command)  # reading files from the disk is for the first build of a day
        taken = [_timed(command) for _ in range(RUNS)]
        peaks = [memory_of(command) for _ in range(MEMORY_RUNS)]
    return {
        "wall_s": statistics.median(wall for wall, _ in taken),
        "wall_range_s": [min(wall for wall, _ in taken), max(wall for wall, _ in taken)],
        "processor_s": statistics.median(busy for _, busy in taken),
        "largest_process_mib": max(peak for peak, _ in peaks),
        "all_processes_pss_mib": max(together for _, together in peaks),
    }


def lines(figures: dict[str, Any]) -> list[str]:
    low, high = figures["wall_range_s"]
    return [
        f"  wall time {figures['wall_s']:.2f} s ({low:.2f} to {high:.2f}; wanted: {WANTED_S} at most), "
        f"processor time {figures['processor_s']:.2f} s",
        f"  largest process {figures['largest_process_mib']:.0f} MiB (wanted: {WANTED_MIB} at most), "
        f"all together {figures['all_processes_pss_mib']:.0f} MiB PSS",
    ]


def _command(folder: Path) -> list[str]:
    x, y, test_x, test_y = images(NET)
    given = folder / "samples.npz"
    held, labels = np.concatenate([x[:SAMPLES], test_x[:SAMPLES]]), np.concatenate([y[:SAMPLES], test_y[:SAMPLES]])
    np.savez(given, image=held, labels=labels, calibrate=np.arange(SAMPLES))
    words = ["--profile", "rpi4", "--target", "tflite", "--scheme", "int8", "--no-search", "--json", "--name", "m", "--version", "1"]
    paths = [str(model(NET)), "--samples", str(given), "-o", str(folder / "cold.edgemodel")]
    return [sys.executable, "-m", "converters", "build", *paths, *words]


def _timed(command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds, of the command and everything it started."""
    before, began = os.times(), time.perf_counter()
    _ended(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
    wall, after = time.perf_counter() - began, os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


def memory_of(command: list[str]) -> tuple[float, float]:
    """MiB of the largest process, and the most that all of them took together."""
    largest, together = 0, 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    pause = threading.Event()
    while process.poll() is None:
        family = _family(process.pid)
        largest = max([largest, *(_kib(f"/proc/{pid}/status", "VmHWM:") for pid in family)])
        together = max(together, sum(_kib(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in family))
        pause.wait(_LOOK_S)
    _ended(process)
    return largest / 1024, together / 1024


def _family(pid: int) -> list[int]:
    found = [pid]
    for member in found:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found += [int(word) for word in Path(f"/proc/{member}/task/{member}/children").read_text().split()]
    return found


def _kib(path: str, key: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(path).read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1])
    return 0


def _ended(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate(timeout=120)
    if process.returncode:
        raise RuntimeError(f"edge-convert ended with status {process.returncode}: {said.strip()[-500:]}")
