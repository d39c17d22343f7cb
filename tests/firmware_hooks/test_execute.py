"""Lifecycle scripts run for real: order, environment, limits, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from waiting import wait_for

from firmware_hooks.execute import run_hook


def script(path: Path, body: str, mode: int = 0o755) -> Path:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(mode)
    return path


@pytest.fixture
def hooks(tmp_path: Path) -> Path:
    folder = tmp_path / "hooks"
    folder.mkdir(mode=0o755)
    return folder


def test_no_folder_and_no_script_are_skipped(hooks: Path) -> None:
    for folder in (None, hooks, hooks / "absent"):
        result = run_hook(folder, "pre-install", {})
        assert result.ok and result.skipped and result.code is None


def test_scripts_run_in_order_and_see_a_clean_environment(hooks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "do not pass on")
    script(hooks / "pre-activate", "echo first $EDGE_EVENT $EDGE_MODEL $EDGE_VERSION; env | grep -c SECRET; pwd\n")
    script(hooks / "pre-activate.d/20-b", "echo third\n")
    script(hooks / "pre-activate.d/10-a", "echo second\n")
    script(hooks / "pre-activate.d/30-not-executable", "echo never\n", mode=0o644)
    script(hooks / "pre-activate.d/40-backup~", "echo never\n")
    result = run_hook(hooks, "pre-activate", {"EDGE_MODEL": "digits; rm -rf /", "EDGE_VERSION": "1\0.0"})
    assert result.ok and not result.skipped and result.code == 0
    assert result.output == "first pre-activate digits; rm -rf / 1.0\n0\n/\nsecond\nthird\n"


def test_the_first_failure_ends_the_event(hooks: Path) -> None:
    script(hooks / "post-install.d/1", "echo no >&2; exit 7\n")
    script(hooks / "post-install.d/2", "echo never\n")
    result = run_hook(hooks, "post-install", {})
    assert (result.ok, result.code, result.output, result.timed_out) == (False, 7, "no\n", False)


def test_a_script_that_hangs_is_killed_with_all_it_started(hooks: Path, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script(hooks / "pre-install", f"trap '' TERM\nsleep 600 & echo $! > {pids}\necho waiting\nwait\nsleep 600\n")
    result = run_hook(hooks, "pre-install", {}, timeout_s=0.3)
    assert not result.ok and result.timed_out
    assert "waiting" in result.output and "killed after 0.3 s" in result.output
    assert wait_for(lambda: not _alive(int(pids.read_text())), 5)


def test_what_a_script_leaves_behind_ends_with_it(hooks: Path, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script(hooks / "post-rollback", f"sleep 600 & echo $! > {pids}\n")
    assert run_hook(hooks, "post-rollback", {}).ok
    assert wait_for(lambda: not _alive(int(pids.read_text())), 5)


def test_a_process_that_leaves_the_group_does_not_hold_the_hook(hooks: Path, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script(hooks / "pre-install", f"setsid sleep 600 & echo $! > {pids}\necho done\n")
    try:
        result = run_hook(hooks, "pre-install", {})
        assert result.ok and result.output == "done\n"
    finally:
        os.kill(int(pids.read_text()), 9)


def test_output_is_bounded_and_keeps_its_end(hooks: Path) -> None:
    script(hooks / "pre-install", "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo the reason; exit 1\n")
    result = run_hook(hooks, "pre-install", {}, max_output_bytes=1000)
    assert len(result.output) <= 1000
    assert result.output.endswith("the reason\n")


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_a_script_that_others_may_change_is_refused(hooks: Path, mode: int) -> None:
    path = script(hooks / "pre-install", "echo never\n", mode=mode)
    result = run_hook(hooks, "pre-install", {})
    assert not result.ok and not result.skipped and result.code is None
    assert str(path) in result.output and "others may write" in result.output


def test_a_folder_that_others_may_change_is_refused(hooks: Path) -> None:
    script(hooks / "pre-install.d/1", "echo never\n")
    (hooks / "pre-install.d").chmod(0o777)
    assert "pre-install.d: refused" in run_hook(hooks, "pre-install", {}).output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_script_of_another_user_is_refused(hooks: Path) -> None:
    path = script(hooks / "pre-install", "echo never\n")
    os.chown(path, 12345, 12345)
    assert "belongs to user 12345" in run_hook(hooks, "pre-install", {}).output


@pytest.mark.parametrize("content", [b"\x7fELFgarbage", b"#!/no/such/interpreter\n", b"\x00\x01\x02"])
def test_a_script_that_cannot_be_run_says_so(hooks: Path, content: bytes) -> None:
    path = hooks / "pre-install"
    path.write_bytes(content)
    path.chmod(0o755)
    result = run_hook(hooks, "pre-install", {})
    assert not result.ok and result.code is None and "cannot be run" in result.output


@pytest.mark.parametrize("event", ["", "../etc/passwd", "pre/install", "Pre-Install", "pre install", "-x", "x-"])
def test_an_event_never_becomes_a_path(hooks: Path, event: str) -> None:
    with pytest.raises(ValueError, match="hook event"):
        run_hook(hooks, event, {})


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "EDGE_A=B", ""])
def test_only_edge_variables_may_be_given(hooks: Path, name: str) -> None:
    with pytest.raises(ValueError, match="EDGE_"):
        run_hook(hooks, "pre-install", {name: "x"})


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
