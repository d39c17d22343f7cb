"""Publishing killed at every rename and every sync: a strict client reads the old state or the new one, and the next writer goes on."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fleet_reader import Reader
from models import tiny_bundle

from edge_agent.clock import SystemClock
from fleet_controller.repository import Repository

STRACE = shutil.which("strace")
RENAME, SYNC = "rename,renameat,renameat2", "fsync"
_MOST = 40


def killed_at(calls: str, number: int, *command: str) -> bool:
    """Run ``edge-fleet`` and kill it at its ``number``-th system call of ``calls``; false when it ended before."""
    assert STRACE is not None
    inject = f"inject={calls}:signal=KILL:when={number}"
    words = [
        STRACE,
        "-f",
        "-qqq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={calls}",
        "-e",
        inject,
        sys.executable,
        "-m",
        "fleet_controller",
        *command,
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    if "PTRACE" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL), done.stderr
    return done.returncode != 0


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.parametrize(("calls", "least"), [(RENAME, 4), (SYNC, 9)], ids=["rename", "sync"])
def test_publish_survives_a_kill_at_every_rename_and_sync(tmp_path: Path, calls: str, least: int) -> None:
    old = tiny_bundle(tmp_path / "old.edgemodel", version="1")
    new = tiny_bundle(tmp_path / "new.edgemodel", version="2", seed=2)
    template = Repository(tmp_path / "template", SystemClock())
    template.init()
    template.publish(old.path)

    def once(number: int) -> bool:
        folder = tmp_path / f"repo-{number}"
        shutil.copytree(template.folder, folder)
        was_killed = killed_at(calls, number, "publish", str(new.path), "--repo", str(folder))
        reader = Reader(folder / "public", tmp_path / f"reader-{number}")
        assert reader.fetch("tiny", "1") == old.path.read_bytes(), number
        assert reader.fetch("tiny", "2") in ((None, new.path.read_bytes()) if was_killed else (new.path.read_bytes(),)), number
        repository = Repository(folder, SystemClock())
        repository.publish(new.path)
        assert reader.fetch("tiny", "2") == new.path.read_bytes(), f"{number}: what this client saw before must not lock it out"
        assert not list(folder.rglob(".tmp-*")), number
        shutil.rmtree(folder)
        return was_killed

    with ThreadPoolExecutor(4) as pool:
        killed: list[bool] = []
        while not killed or killed[-1]:
            assert len(killed) < _MOST
            killed += pool.map(once, range(len(killed) + 1, len(killed) + 5))
    assert killed.count(True) >= least, "the bundle and three metadata files, each synced, renamed, and its folder synced"


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.parametrize(("calls", "number"), [(SYNC, 1), (SYNC, 12), (SYNC, 20), (RENAME, 10)])
def test_init_killed_leaves_no_half_made_repository(tmp_path: Path, calls: str, number: int) -> None:
    folder = tmp_path / "repo"
    assert killed_at(calls, number, "init", str(folder))
    assert not folder.exists()
    Repository(folder, SystemClock()).init()
    assert Reader(folder / "public", tmp_path / "reader").fetch("tiny", "1") is None
