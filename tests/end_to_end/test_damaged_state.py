"""What is on disk is damaged, or the disk can only be read: the device serves all the same and says what it did."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from end_to_end.household import BIN, Household, tool
from models import tiny_bundle
from waiting import wait_for

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(120)]


def with_two_versions(household: Household, tmp_path: Path, *, born_with: bool = False) -> Path:
    """A stopped device on which version 2 serves and 1 is the one before; its state folder."""
    first = tiny_bundle(tmp_path / "1.edgemodel", version="1").path
    household.write_config(bundle=first, repository=False, watch_s=0.1)
    agent = household.start_agent()
    tool("edge-agent", "install", tiny_bundle(tmp_path / "2.edgemodel", version="2", seed=2).path, "--config", household.config)
    agent.terminate()
    agent.wait()
    if not born_with:
        household.write_config(bundle=None, repository=False, watch_s=0.1)
    return tmp_path / "state"


def replace_by_folder(path: Path) -> None:
    """What reading ``path`` then fails with cannot be told from a bad sector by the one who reads."""
    path.unlink(missing_ok=True)
    path.mkdir()


def damage_models(store: Path) -> None:
    for model in (store / "unpacked").glob("*/model.onnx"):
        model.chmod(0o644)
        model.write_bytes(b"x")


def test_with_every_record_unreadable_the_newest_version_serves_and_updates_go_on(household: Household, tmp_path: Path) -> None:
    state = with_two_versions(household, tmp_path)
    replace_by_folder(state / "update" / "journal.json")
    replace_by_folder(state / "commands.json")
    (state / "store" / "active" / "tiny.json").write_bytes(bytes(80))
    (state / "store" / "quarantine.json").write_text("{]")
    household.start_agent()
    household.wait_answers()
    assert household.model()["version"] == "2"
    assert household.model()["previous"]["version"] == "1"
    log = household.log("agent")
    assert "journal.json" in log and "commands.json" in log and "pointer_damaged" in log


def test_a_version_rolled_back_to_serves_again_when_its_pointer_is_lost(household: Household, tmp_path: Path) -> None:
    state = with_two_versions(household, tmp_path)
    agent = household.start_agent()
    tool("edge-agent", "rollback", "tiny", "--config", household.config)
    agent.terminate()
    agent.wait()
    (state / "store" / "active" / "tiny.json").write_text("")
    household.start_agent()
    assert household.model()["version"] == "1"


def test_models_that_the_disk_damaged_come_back_from_their_bundles(household: Household, tmp_path: Path) -> None:
    state = with_two_versions(household, tmp_path)
    damage_models(state / "store")
    household.start_agent()
    household.wait_answers()
    assert household.model()["version"] == "2"


def test_without_any_whole_bundle_the_device_serves_what_it_was_born_with(household: Household, tmp_path: Path) -> None:
    state = with_two_versions(household, tmp_path, born_with=True)
    damage_models(state / "store")
    shutil.rmtree(state / "store" / "objects")
    household.start_agent()
    household.wait_answers()
    assert household.model()["version"] == "1"


def test_with_nothing_left_the_device_says_so_and_takes_the_model_anew(household: Household, tmp_path: Path) -> None:
    state = with_two_versions(household, tmp_path)
    shutil.rmtree(state / "store" / "objects")
    shutil.rmtree(state / "store" / "unpacked")
    household.start_agent()
    assert household.model()["state"] == "missing"
    assert "no version on this device can serve" in household.log("agent")
    tool("edge-agent", "install", tmp_path / "2.edgemodel", "--config", household.config)
    household.wait_answers()


def test_a_disk_that_can_only_be_read_does_not_keep_the_device_from_serving(household: Household, tmp_path: Path) -> None:
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'
    if subprocess.run(["unshare", "--mount", "sh", "-c", mount, str(tmp_path)], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    state = with_two_versions(household, tmp_path)
    damaged = next(p for p in (state / "store" / "unpacked").glob("*/manifest.json") if '"2"' in p.read_text()).with_name("model.onnx")
    damaged.chmod(0o644)
    damaged.write_bytes(b"x")
    run = f'{mount} && exec "$1" run --config "$2"'
    household.start("agent", "unshare", "--mount", "sh", "-c", run, state, BIN / "edge-agent", household.config)
    wait_for(household.socket_answers, 30, "the agent answers")
    household.wait_answers()
    assert {line["version"] for line in household.lines()[-5:]} == {"1"}
    refused = tool("edge-agent", "install", tmp_path / "2.edgemodel", "--config", household.config, expect=1)
    assert "Read-only" in refused.stderr
