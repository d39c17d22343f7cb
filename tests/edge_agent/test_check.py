"""What ``edge-agent check`` finds on this machine, before the device finds out by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from models import tiny_bundle

from edge_agent.__main__ import main
from edge_agent.bundle.manifest import Requirements

CONFIG = """
[device]
id = "d1"
profile = "rpi4"
state_dir = "state"
runtime_dir = "run"
[[models]]
name = "tiny"
bundle = "tiny.edgemodel"
"""


def verdict(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    (folder / "agent.toml").write_text(CONFIG)
    status = main(["check", "--config", str(folder / "agent.toml"), "--json"])
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert {p["where"] for p in problems} <= {"models[0].bundle"}
    return status, [p["what"] for p in problems]


def test_a_bundle_for_this_board_is_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_bundle(tmp_path / "tiny.edgemodel", requires=Requirements(profiles=("rpi3", "rpi4")))
    assert verdict(tmp_path, capsys) == (0, [])


def test_a_bundle_for_other_boards_is_told_of_with_every_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_bundle(tmp_path / "tiny.edgemodel", requires=Requirements(profiles=("rpi5",), arch=("armv7l",)))
    status, found = verdict(tmp_path, capsys)
    assert status == 2 and len(found) == 2
    assert "made for rpi5; this device is rpi4" in found[0] and "made for armv7l processors" in found[1]


def test_a_runtime_too_old_for_the_bundle_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_bundle(tmp_path / "tiny.edgemodel", minimum="999.0")
    status, found = verdict(tmp_path, capsys)
    assert status == 2 and "needs onnx 999.0 or newer" in found[0]
