"""What the kernel tells of the board and of the agent's processes, read from ``/proc`` (proc(5)).

Read here and not through psutil: its tree cannot be pointed elsewhere per object, which recorded boards in tests need, its import costs
4 MB in a process that is to stay below 25, and armv7 has no wheel of it. A file that is missing makes a ``None``, never an error.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.clock import Clock, monotonic_s
from edge_agent.protocol.messages import BoardMetrics, ProcessMetrics
from firmware_hooks.base import BoardReader

MIB = 1 << 20
POWER_MODE_S = 60.0


@dataclass(frozen=True, slots=True)
class _Ticks:
    """Processor time of a process, and when it was read. ``born`` tells a reused process id from the process it was before."""

    born: int
    ticks: int
    at_ns: int


class Probe:
    """Reads on demand; percentages are over the time since the previous call. One thread calls it."""

    def __init__(self, *, board: BoardReader, clock: Clock, proc_root: Path = Path("/proc")) -> None:
        self._reader = board
        self._clock = clock
        self._proc = proc_root
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        self._cpu: tuple[int, int] | None = None
        self._before: dict[int, _Ticks] = {}
        self._mode: str | None = None
        self._mode_s: float | None = None

    def board(self, state_dir: Path) -> BoardMetrics:
        """The whole board; ``state_dir`` says which file system's space is meant."""
        memory = self._meminfo()
        free_mib, total_mib = _disk(state_dir)
        reasons = self._reader.throttling()
        return BoardMetrics(
            cpu_percent=self._cpu_percent(),
            ram_total_mib=memory.get("MemTotal"),
            ram_available_mib=memory.get("MemAvailable"),
            temperature_c=self._reader.temperature_c(),
            throttled=None if reasons is None else bool(reasons),
            throttle_reasons=reasons or (),
            power_mode=self._power_mode(),
            disk_free_mib=free_mib,
            disk_total_mib=total_mib,
            uptime_s=self._uptime_s(),
        )

    def processes(self, roles: Sequence[tuple[str, int]]) -> tuple[ProcessMetrics, ...]:
        """Memory and processor time of (role, pid) pairs; one that is gone is left out."""
        found = []
        ticks: dict[int, _Ticks] = {}
        for role, pid in roles:
            now = self._ticks(pid)
            if now is None:
                continue
            ticks[pid] = now
            busy = self._busy_percent(self._before.get(pid), now)
            found.append(ProcessMetrics(role, pid, self._rss_mib(pid), self._pss_mib(pid), busy))
        self._before = ticks
        return tuple(found)

    # The board

    def _power_mode(self) -> str | None:
        """Asked of the board once a minute: where it takes a vendor's program, that costs more than all the rest."""
        now_s = monotonic_s(self._clock)
        if self._mode_s is None or now_s - self._mode_s >= POWER_MODE_S:
            self._mode, self._mode_s = self._reader.power_mode(), now_s
        return self._mode

    def _cpu_percent(self) -> float | None:
        """Busy share of all cores since the previous call, from the first line of ``stat``: neither idle nor waiting for the disk."""
        words = _text(self._proc / "stat").partition("\n")[0].split()
        if len(words) < 6 or words[0] != "cpu":
            return None
        # guest and guest_nice (the 9th and 10th) are already inside user and nice.
        numbers = [int(word) for word in words[1:9]]
        total, idle = sum(numbers), numbers[3] + numbers[4]
        before, self._cpu = self._cpu, (total, idle)
        if before is None or total <= before[0]:
            return None
        share = 1.0 - (idle - before[1]) / (total - before[0])
        return round(100.0 * min(1.0, max(0.0, share)), 2)

    def _meminfo(self) -> dict[str, float]:
        """MiB by name."""
        found = {}
        for line in _text(self._proc / "meminfo").splitlines():
            name, _, rest = line.partition(":")
            words = rest.split()
            if words and words[0].isdigit():
                found[name] = int(words[0]) / 1024
        return found

    def _uptime_s(self) -> float | None:
        words = _text(self._proc / "uptime").split()
        return float(words[0]) if words else None

    # Processes

    def _ticks(self, pid: int) -> _Ticks | None:
        """From ``PID/stat``; the name (2nd field) is in brackets and may hold anything, so fields are counted after the last bracket."""
        words = _text(self._proc / str(pid) / "stat").rpartition(")")[2].split()
        if len(words) < 20 or words[0] in "ZX":
            return None
        return _Ticks(born=int(words[19]), ticks=int(words[11]) + int(words[12]), at_ns=self._clock.monotonic_ns())

    def _busy_percent(self, before: _Ticks | None, now: _Ticks) -> float | None:
        if before is None or before.born != now.born or now.at_ns <= before.at_ns:
            return None
        busy_s = (now.ticks - before.ticks) / self._ticks_per_s
        return round(100.0 * busy_s / ((now.at_ns - before.at_ns) / 1e9), 2)

    def _rss_mib(self, pid: int) -> float | None:
        words = _text(self._proc / str(pid) / "statm").split()
        return int(words[1]) * self._page_bytes / MIB if len(words) > 1 else None

    def _pss_mib(self, pid: int) -> float | None:
        """From ``PID/smaps_rollup``: there since Linux 4.14, readable for processes of the same user."""
        for line in _text(self._proc / str(pid) / "smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
        return None


def _text(path: Path) -> str:
    """The content of a small kernel file, empty when there is none (any more) or it may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _disk(path: Path) -> tuple[float | None, float | None]:
    """Free for an ordinary user, and whole, MiB."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None, None
    return found.f_bavail * found.f_frsize / MIB, found.f_blocks * found.f_frsize / MIB
