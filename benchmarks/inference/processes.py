"""What a server's processes take, read from outside: processor time to the nanosecond, memory as the kernel shares it out."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_SCHED_CLOCK = 2


@dataclass(frozen=True, slots=True)
class Process:
    """A living process: its id, its parent's, its name (15 characters), and whether it is stopped or a zombie (``state``)."""

    pid: int
    parent: int
    name: str
    state: str


def tree(root: int) -> tuple[Process, ...]:
    """``root`` and every process below it that is alive now; empty when it is gone."""
    everyone = {process.pid: process for entry in PROC.iterdir() if entry.name.isdigit() and (process := _process(entry)) is not None}
    found = [everyone[root]] if root in everyone else []
    for process in found:
        found += [other for other in everyone.values() if other.parent == process.pid]
    return tuple(process for process in found if process.state != "Z")


def _process(entry: Path) -> Process | None:
    try:
        text = (entry / "stat").read_text()
    except OSError:
        return None
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    return Process(int(entry.name), int(fields[1]), name, fields[0])


def cpu_ns(pids: Iterable[int]) -> int:
    """Processor time that processes have taken, threads that have ended included. Raises ProcessLookupError for one that is gone.

    The clock is clock_getcpuclockid(3)'s: the sum the scheduler keeps, not the ticks of 10 ms that ``/proc/PID/stat`` shows.
    """
    return sum(map(_cpu_ns, pids))


def _cpu_ns(pid: int) -> int:
    try:
        return time.clock_gettime_ns(~pid << 3 | _SCHED_CLOCK)
    except OSError:
        raise ProcessLookupError(f"process {pid} ended while it was measured: what it took is lost") from None


def pss_kib(pid: int) -> int:
    """Proportional set size (proc(5), smaps_rollup): pages that several processes map are shared out. 0 for one that is gone."""
    return _smaps(pid, "Pss:")


def rss_kib(pid: int) -> int:
    """Resident set size, shared pages in full. 0 for one that is gone."""
    return _smaps(pid, "Rss:")


def anonymous_kib(pid: int) -> int:
    """The part of :func:`pss_kib` that is no file's: what the kernel cannot drop without swap. 0 for one that is gone."""
    return _smaps(pid, "Pss_Anon:")


def _smaps(pid: int, key: str) -> int:
    try:
        text = (PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(key)), 0)


def pss_mib(pids: Iterable[int]) -> float:
    """The sum over processes."""
    return sum(pss_kib(pid) for pid in pids) / 1024
