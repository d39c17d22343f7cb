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


def private_mib(pid: int, proc: Path = PROC) -> float | None:
    """Resident memory of ``pid`` that no other process shares: what its end gives back (smaps_rollup, Linux 4.14 and later)."""
    try:
        lines = (proc / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines[1:] if ":" in line)
    return sum(int(fields[key].split()[0]) for key in ("Private_Clean", "Private_Dirty") if key in fields) / 1024
