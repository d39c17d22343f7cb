"""The probe reads recorded trees, survives what is missing, and agrees with an independent reader on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from edge_agent.clock import ManualClock, SystemClock
from edge_agent.telemetry.probe import Probe

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Board:
    """A board with sensors that say what the test wants."""

    def __init__(self, reasons: tuple[str, ...] | None = (), temperature_c: float | None = 48.3) -> None:
        self._reasons = reasons
        self._temperature_c = temperature_c
        self.mode_asked = 0

    def temperature_c(self) -> float | None:
        return self._temperature_c

    def throttling(self) -> tuple[str, ...] | None:
        return self._reasons

    def power_mode(self) -> str | None:
        self.mode_asked += 1
        return "15W"


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def board_tree(root: Path, *, user: int, idle: int) -> None:
    """A Raspberry Pi 4's files, shortened."""
    write(root, "stat", f"cpu  {user} 0 100 {idle} 50 0 10 0 7 7\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 1\n")
    write(
        root, "meminfo", "MemTotal:        3884400 kB\nMemFree:          200000 kB\nMemAvailable:    3000320 kB\nHugePages_Total:       0\n"
    )
    write(root, "uptime", "12345.67 40000.00\n")


def process_tree(root: Path, pid: int, *, ticks: int, born: int = 500, name: str = "edge) agent (x") -> None:
    write(root, f"{pid}/stat", f"{pid} ({name}) S 1 1 1 0 -1 4194560 9 0 0 0 {ticks} 7 0 0 20 0 3 0 {born} 100000000 5000\n")
    write(root, f"{pid}/statm", "24000 6000 3000 1 0 9000 0\n")
    write(
        root, f"{pid}/smaps_rollup", "00400000-7fff0000 ---p 00000000 00:00 0  [rollup]\nRss: 24000 kB\nPss:  10240 kB\nPss_Dirty: 1 kB\n"
    )


def test_a_recorded_board_is_read(tmp_path: Path) -> None:
    board_tree(tmp_path, user=1000, idle=9000)
    probe = Probe(board=Board(("under-voltage",)), clock=ManualClock(), proc_root=tmp_path)
    first = probe.board(tmp_path)
    assert first.cpu_percent is None
    board_tree(tmp_path, user=1030, idle=9070)
    second = probe.board(tmp_path)
    assert second.cpu_percent == 30.0
    assert second.ram_total_mib == pytest.approx(3793.36, abs=0.01)
    assert second.ram_available_mib == 2930.0
    assert (second.temperature_c, second.throttled, second.throttle_reasons) == (48.3, True, ("under-voltage",))
    assert second.uptime_s == 12345.67
    assert second.disk_total_mib is not None


def test_the_power_mode_is_asked_for_once_a_minute(tmp_path: Path) -> None:
    clock, board = ManualClock(), Board()
    probe = Probe(board=board, clock=clock, proc_root=tmp_path)
    for _ in range(7):
        assert probe.board(tmp_path).power_mode == "15W"
        clock.advance_s(10)
    assert board.mode_asked == 2


def test_a_board_without_any_of_it_gives_nones_and_no_error(tmp_path: Path) -> None:
    probe = Probe(board=Board(None, None), clock=ManualClock(), proc_root=tmp_path / "absent")
    found = probe.board(tmp_path / "absent")
    figures = (found.cpu_percent, found.ram_total_mib, found.temperature_c, found.throttled, found.disk_free_mib, found.uptime_s)
    assert figures == (None,) * 6
    assert found.throttle_reasons == ()
    assert probe.processes([("control", 1)]) == ()


def test_a_process_is_measured_whatever_its_name_is(tmp_path: Path) -> None:
    clock = ManualClock()
    probe = Probe(board=Board(), clock=clock, proc_root=tmp_path)
    process_tree(tmp_path, 42, ticks=1000)
    (first,) = probe.processes([("worker:digits@1", 42), ("updater", 43)])
    assert (first.role, first.pid, first.cpu_percent) == ("worker:digits@1", 42, None)
    assert first.rss_mib == 6000 * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    assert first.pss_mib == 10.0
    clock.advance_s(2.0)
    process_tree(tmp_path, 42, ticks=1000 + TICKS_PER_S)
    assert probe.processes([("worker:digits@1", 42)])[0].cpu_percent == 50.0


def test_a_process_id_that_was_given_to_another_process_starts_anew(tmp_path: Path) -> None:
    clock = ManualClock()
    probe = Probe(board=Board(), clock=clock, proc_root=tmp_path)
    process_tree(tmp_path, 42, ticks=9000, born=500)
    probe.processes([("worker", 42)])
    clock.advance_s(1.0)
    process_tree(tmp_path, 42, ticks=10, born=777)
    assert probe.processes([("worker", 42)])[0].cpu_percent is None


def test_a_process_that_died_is_left_out() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        probe = Probe(board=Board(), clock=SystemClock())
        assert [p.pid for p in probe.processes([("control", os.getpid()), ("worker", child.pid)])] == [os.getpid(), child.pid]
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the process table
        assert [p.pid for p in probe.processes([("worker", child.pid), ("control", os.getpid())])] == [os.getpid()]


def test_the_live_machine_agrees_with_psutil(tmp_path: Path) -> None:
    probe = Probe(board=Board(), clock=SystemClock())
    board = probe.board(tmp_path)
    (me,) = probe.processes([("control", os.getpid())])
    theirs = psutil.Process().memory_full_info()
    assert board.ram_total_mib == psutil.virtual_memory().total / (1 << 20)
    assert board.disk_total_mib == pytest.approx(psutil.disk_usage(str(tmp_path)).total / (1 << 20), rel=0.1)
    assert me.rss_mib == pytest.approx(theirs.rss / (1 << 20), rel=0.1)
    assert me.pss_mib is None or me.pss_mib == pytest.approx(theirs.pss / (1 << 20), rel=0.1)
