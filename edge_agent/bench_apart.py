"""Each benchmark in a process of its own: memory is that model's alone, and a model that crashes takes nobody with it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from edge_agent.bench import BenchResult, bench_file
from edge_agent.errors import EdgeError, ModelError


def bench_apart(path: Path, *, runs: int, warmup: int, threads: int) -> BenchResult:
    """:func:`~edge_agent.bench.bench_file` in a fresh process. Raises ModelError with what it said, or how it died."""
    order = json.dumps({"path": str(path), "runs": runs, "warmup": warmup, "threads": threads})
    done = subprocess.run([sys.executable, "-m", "edge_agent.bench_apart"], input=order, capture_output=True, text=True, check=False)
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise ModelError(f"{path}: the benchmark {_death(done.returncode)}: {done.stderr.strip()[-500:]}") from None
    if "error" in answer:
        raise ModelError(answer["error"])
    return BenchResult(**answer)


def _death(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def main() -> int:
    """The process: the order on standard input, the result as the last line of standard output."""
    order = json.load(sys.stdin)
    path = Path(order.pop("path"))
    try:
        print(json.dumps(asdict(bench_file(path, **order))))
    except EdgeError as error:
        print(json.dumps({"error": str(error)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
