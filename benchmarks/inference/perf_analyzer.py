"""NVIDIA's perf_analyzer 2.41 as it comes in the ``tritonclient`` wheel, against any server that it can measure."""

from __future__ import annotations

import os
import re
import subprocess

from benchmarks.inference.environments import Environment
from benchmarks.inference.server import Server, ServerFailed

WINDOW_MS, QUICK_WINDOW_MS = 2000, 700
TIMEOUT_S = 180.0
ANY_SPREAD = "999"
"""Percent that three windows may differ: a busy machine is dealt with by rounds in turns, not by asking until it is quiet."""


def throughput(home: Environment, server: Server, model: str, concurrency: int, *, quick: bool = False, protocol: str = "http") -> float:
    """Inferences a second with ``concurrency`` requests under way. Raises ServerFailed when it does not measure to the end."""
    where = server.url if protocol == "http" else f"127.0.0.1:{server.grpc_port}"
    window = QUICK_WINDOW_MS if quick else WINDOW_MS
    words = ["-m", model, "-u", where, "-i", protocol, "--concurrency-range", str(concurrency), "-p", str(window), "-s", ANY_SPREAD]
    libraries = f"{home.site / 'nvidia/cuda_runtime/lib'}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    try:
        done = subprocess.run(
            [str(home.python.with_name("perf_analyzer")), *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
            env={**os.environ, "LD_LIBRARY_PATH": libraries},
        )
    except subprocess.TimeoutExpired:
        raise ServerFailed(f"perf_analyzer against {server.title} took more than {TIMEOUT_S:g} s") from None
    found = re.search(r"Throughput: ([\d.]+) infer/sec", done.stdout)
    if done.returncode or found is None:
        raise ServerFailed(
            f"perf_analyzer against {server.title} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-400:]}"
        )
    return float(found.group(1))
