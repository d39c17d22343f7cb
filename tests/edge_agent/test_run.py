"""Starting an agent: what keeps it from starting is said in one line, and nothing is left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.errors import StoreError
from edge_agent.state_lock import state_lock

CONFIG = '[device]\nid = "d1"\nprofile = "generic-x86-64"\nstate_dir = "state"\nruntime_dir = "run"\n'


def complaint(folder: Path) -> str:
    """What ``edge-agent run`` says when it cannot start."""
    (folder / "agent.toml").write_text(CONFIG)
    command = [str(Path(sys.executable).parent / "edge-agent"), "run", "--config", str(folder / "agent.toml"), "--log-level", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    return done.stderr


def test_a_second_agent_on_the_same_state_is_refused(tmp_path: Path) -> None:
    with state_lock(tmp_path / "state"):
        said = complaint(tmp_path)
    assert "another edge-agent runs on it" in said
    assert len(said.splitlines()) == 1


def test_a_state_folder_is_free_again_after_its_agent(tmp_path: Path) -> None:
    for _ in range(2):
        with state_lock(tmp_path), pytest.raises(StoreError, match="another edge-agent"), state_lock(tmp_path):
            pass


def test_a_socket_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "run" / "agent.sock").mkdir(parents=True)
    said = complaint(tmp_path)
    assert "agent.sock" in said
    assert "runtime_dir" in said
    assert len(said.splitlines()) == 1


def test_a_second_agent_on_the_same_runtime_folder_is_refused(tmp_path: Path) -> None:
    with state_lock(tmp_path / "run"):
        said = complaint(tmp_path)
    assert "device.runtime_dir" in said
    assert len(said.splitlines()) == 1
