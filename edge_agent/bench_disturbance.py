"""What speaks against a measurement: a board that slowed itself down, or other programs that took the processor away."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edge_agent.bench import Round
from firmware_hooks.base import BoardReader
from firmware_hooks.sysfs import numbered, read_int

Load = Callable[[], tuple[float, float, float]]
SWITCHES_PER_S = 20.0
"""Involuntary context switches a second that a round may have: a lone program has next to none, and a shared core one each few ms."""

_SLOWER = 0.9


class Disturbance:
    """Looks around after each round. ``board`` None where nothing is known about it; ``root`` is ``/`` but in tests."""

    def __init__(self, board: BoardReader | None, root: Path = Path("/"), load: Load = os.getloadavg) -> None:
        self._board = board
        self._cpus = [cpu / "cpufreq" for cpu in numbered(root / "sys/devices/system/cpu", "cpu")]
        self._load = load
        self._fastest_khz = 0

    def at_start(self) -> str:
        """What other programs do before anything is measured; empty when they leave a core free."""
        load, cores = self._load()[0], os.cpu_count() or 1
        return f"other programs are busy (load {load:.1f} on {cores} cores)" if load > 0.5 * cores else ""

    def after(self, round_: Round) -> tuple[str, ...]:
        """Why the times of ``round_``, which just ended, may not be the model's own."""
        reasons = []
        if self._slowed():
            reasons.append("frequency")
        if self._board is not None:
            reasons.extend(self._board.throttling() or ())
        wall_s = sum(round_.times_us) / 1e6
        if round_.involuntary > max(2.0, SWITCHES_PER_S * wall_s):
            reasons.append("preempted")
        return tuple(reasons)

    def _slowed(self) -> bool:
        """The fastest core runs slower than it was seen to, or than the board allows when it is cool."""
        now_khz = max((read_int(cpu / "scaling_cur_freq") or 0 for cpu in self._cpus), default=0)
        self._fastest_khz = max(self._fastest_khz, now_khz)
        capped = any(
            (limit := read_int(cpu / "scaling_max_freq")) and (able := read_int(cpu / "cpuinfo_max_freq")) and limit < _SLOWER * able
            for cpu in self._cpus
        )
        return capped or now_khz < _SLOWER * self._fastest_khz
