"""Memory as the kernel counts it, read from ``/proc``; ``None`` where it does not tell."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")


def available_mib(proc: Path = PROC) -> float | None:
    """What can be had without swapping (MemAvailable, Linux 3.14 and later)."""
    try:
        lines = (proc / "meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) / 1024
    return None


def rss_mib(pid: int, proc: Path = PROC) -> float | None:
    """Resident memory of ``pid``, shared pages included."""
    try:
        fields = (proc / str(pid) / "statm").read_text().split()
    except OSError:
        return None
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
