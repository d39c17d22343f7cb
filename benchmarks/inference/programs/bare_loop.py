"""Runtime calls at a rate in one process and nothing else.

``python -m benchmarks.inference.programs.bare_loop FILE SHAPE RATE_HZ [defaults]``. SHAPE is the input's, with commas. Says ``ready``
after its warm-up and goes on until its standard input ends. With ``defaults`` the runtime is as it comes: as many threads as cores, which
spin while they wait.
"""

from __future__ import annotations

import select
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.inference.nets import bare_session

WARM = 20


def main() -> int:
    shape = tuple(int(size) for size in sys.argv[2].split(","))
    session, period_s = bare_session(Path(sys.argv[1]), defaults="defaults" in sys.argv[4:]), 1 / float(sys.argv[3])
    feed = {"x": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    for _ in range(WARM):
        session.run(["y"], feed)
    print("ready", flush=True)
    over = select.poll()
    over.register(0, select.POLLIN | select.POLLHUP)
    due_s = time.monotonic()
    while not over.poll(max(0.0, (due_s - time.monotonic()) * 1000)):
        session.run(["y"], feed)
        due_s += period_s
    return 0


if __name__ == "__main__":
    sys.exit(main())
