"""Memory that a build takes with many samples: the largest of all its processes, with 100 and with 10,000 samples of 32 by 32 pixels."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.nets.digits import images, model

NET = "resnet8"
COUNTS = (100, 10_000)
ALLOWED = 1.1
_JUDGED = 100
# The kernel lets a new program inherit the peak of the one that started it (execve, ru_maxrss); VmHWM is the program's own.
_CHILD = """
import json, resource, sys
from converters.__main__ import main
status = main(sys.argv[1:])
own = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([status, int(own.split()[1]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""


def measure() -> dict[str, object]:
    """Peak resident memory (MiB) by number of calibration samples, for the command itself and for the largest process it started."""
    with tempfile.TemporaryDirectory(prefix="edge-memory-") as name:
        return {str(count): _peaks(Path(name), count) for count in COUNTS}


def _peaks(folder: Path, count: int) -> dict[str, float]:
    x, y, _, _ = images(NET)
    held, labels = np.resize(x, (count + _JUDGED, *x.shape[1:])), np.resize(y, count + _JUDGED)
    given = folder / f"{count}.npz"
    np.savez(given, image=held, labels=labels, calibrate=np.arange(count))
    words = ["--profile", "rpi4", "--target", "tflite", "--scheme", "int8", "--force", "--no-search", "-q", "--name", "m", "--version", "1"]
    paths = [str(model(NET)), "--samples", str(given), "-o", str(folder / f"{count}.edgemodel")]
    command = [sys.executable, "-c", _CHILD, "build", *paths, *words, "--calibration", str(count), "--evaluation", str(_JUDGED)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-500:])
    status, own, largest = json.loads(done.stdout.splitlines()[-1])
    if status:
        raise RuntimeError(f"edge-convert ended with status {status}: {done.stderr.strip()[-500:]}")
    return {"command_mib": own / 1024, "largest_child_mib": largest / 1024}


def lines(figures: dict[str, Any]) -> list[str]:
    text = [
        f"  {count:>6} samples: {found['command_mib']:.0f} MiB, the largest process started by it {found['largest_child_mib']:.0f} MiB"
        for count, found in figures.items()
    ]
    first, last = (max(figures[str(count)].values()) for count in COUNTS)
    return [*text, f"  {last / first:.2f} times as much for {COUNTS[1] // COUNTS[0]} times the samples (wanted: {ALLOWED} at most)"]
