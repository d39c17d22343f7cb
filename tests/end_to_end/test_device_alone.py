"""A device without a network: install, roll back, bad bundles, power loss, restarts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from end_to_end.household import BIN, Household, kill_hard, tool
from models import tiny_bundle
from waiting import wait_for

from edge_agent.bundle.archive import write_bundle
from edge_agent.bundle.manifest import Requirements, Step

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(120)]


def install(household: Household, bundle: Path, expect: int) -> dict[str, str]:
    done = tool("edge-agent", "install", bundle, "--json", "--config", household.config, expect=expect)
    result: dict[str, str] = json.loads(done.stdout)
    return result


def test_install_swaps_in_and_rollback_goes_back(household: Household, tmp_path: Path) -> None:
    household.write_config(bundle=tiny_bundle(tmp_path / "1.edgemodel", version="1").path, repository=False)
    household.start_agent()
    household.wait_answers()
    assert install(household, tiny_bundle(tmp_path / "2.edgemodel", version="2", seed=2).path, 0)["status"] == "done"
    household.wait_answers()
    assert household.model()["previous"]["version"] == "1"
    tool("edge-agent", "rollback", "tiny", "--config", household.config)
    household.wait_answers()
    assert household.model()["version"] == "1"
    household.assert_nothing_lost()


def test_both_runtimes_serve_and_one_replaces_the_other(household: Household, tmp_path: Path) -> None:
    household.write_config(bundle=tiny_bundle(tmp_path / "1.edgemodel", version="1").path, repository=False)
    household.start_agent()
    household.wait_answers()
    assert install(household, tiny_bundle(tmp_path / "2.edgemodel", version="2", runtime="tflite", int8=True).path, 0)["status"] == "done"
    household.wait_answers()
    assert household.model()["runtime"] == "tflite"
    household.assert_nothing_lost()


def test_bad_bundles_are_refused_with_the_reason_and_the_old_one_serves(household: Household, tmp_path: Path) -> None:
    household.write_config(bundle=tiny_bundle(tmp_path / "1.edgemodel", version="1").path, repository=False)
    household.start_agent()
    household.wait_answers()
    wrong = tiny_bundle(tmp_path / "w.edgemodel", version="2", seed=2, wrong=True)
    other_board = tiny_bundle(tmp_path / "o.edgemodel", version="3", seed=3, requires=Requirements(profiles=("jetson-nano",)))
    other_model = tiny_bundle(tmp_path / "n.edgemodel", name="unknown", version="1")
    cut = tmp_path / "cut.edgemodel"
    cut.write_bytes(wrong.path.read_bytes()[:-200])
    assert "golden" in install(household, wrong.path, 1)["reason"]
    assert "jetson-nano" in install(household, other_board.path, 1)["reason"]
    assert "no such model" in install(household, other_model.path, 1)["reason"]
    assert "quarantine" in install(household, wrong.path, 1)["reason"] or "refused" in install(household, wrong.path, 1)["reason"]
    assert "cut.edgemodel" in tool("edge-agent", "install", cut, "--config", household.config, expect=1).stderr
    household.wait_answers()
    assert household.model()["version"] == "1"
    household.assert_nothing_lost()


def test_after_kill_9_of_the_agent_nothing_is_left_running_and_the_installed_version_serves(household: Household, tmp_path: Path) -> None:
    household.write_config(bundle=tiny_bundle(tmp_path / "1.edgemodel", version="1").path, repository=False)
    agent = household.start_agent()
    household.wait_answers()
    assert install(household, tiny_bundle(tmp_path / "2.edgemodel", version="2", seed=2).path, 0)["status"] == "done"
    children = psutil.Process(agent.pid).children(recursive=True)
    assert len(children) >= 3
    kill_hard(agent.pid)
    agent.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    household.start_agent()
    assert household.model()["version"] == "2"


def test_every_process_comes_back_after_kill_9(household: Household, tmp_path: Path) -> None:
    household.write_config(bundle=tiny_bundle(tmp_path / "1.edgemodel", version="1").path, repository=False)
    household.start_agent()
    for role in ("worker:", "pipeline:", "zygote"):
        pid = household.pid(role)
        kill_hard(pid)
        wait_for(lambda r=role, p=pid: any(x["role"].startswith(r) and x["pid"] != p for x in household.status()["processes"]), 20, role)
        household.wait_answers()


def test_a_device_born_without_a_model_waits_for_one(household: Household, tmp_path: Path) -> None:
    household.write_config(bundle=None, repository=False)
    household.start_agent()
    assert household.model()["state"] == "missing"
    assert install(household, tiny_bundle(tmp_path / "1.edgemodel", version="1").path, 0)["status"] == "done"
    household.wait_answers()


def test_the_control_process_maps_no_numpy_and_no_runtime(household: Household, tmp_path: Path) -> None:
    household.write_config(bundle=tiny_bundle(tmp_path / "1.edgemodel").path, repository=False)
    agent = household.start_agent()
    maps = Path(f"/proc/{agent.pid}/maps").read_text()
    assert not [word for word in ("numpy", "onnxruntime", "litert", "cryptography") if word in maps]


def test_hooks_run_around_an_update_and_one_that_fails_refuses_it(household: Household, tmp_path: Path) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    script = hooks / "pre-activate"
    script.write_text(f'#!/bin/sh\necho "$EDGE_MODEL $EDGE_VERSION" >> {tmp_path}/hooks.log\n[ "$EDGE_VERSION" != 3 ]\n')
    script.chmod(0o755)
    household.write_config(bundle=tiny_bundle(tmp_path / "1.edgemodel", version="1").path, repository=False)
    household.config.write_text(household.config.read_text().replace("[updates]\n", '[updates]\nhooks_dir = "hooks"\n'))
    household.start_agent()
    assert install(household, tiny_bundle(tmp_path / "2.edgemodel", version="2", seed=2).path, 0)["status"] == "done"
    assert "pre-activate" in install(household, tiny_bundle(tmp_path / "3.edgemodel", version="3", seed=3).path, 1)["reason"]
    assert (tmp_path / "hooks.log").read_text() == "tiny 2\ntiny 3\n"
    assert household.model()["version"] == "2"


def test_a_model_damaged_on_disk_gives_way_to_the_one_before_it_at_the_next_start(household: Household, tmp_path: Path) -> None:
    household.write_config(bundle=tiny_bundle(tmp_path / "1.edgemodel", version="1").path, repository=False)
    agent = household.start_agent()
    assert install(household, tiny_bundle(tmp_path / "2.edgemodel", version="2", seed=2).path, 0)["status"] == "done"
    model = Path(household.model()["model_file"])
    agent.terminate()
    agent.wait()
    model.chmod(0o644)
    model.write_bytes(model.read_bytes()[:-40])
    household.start_agent()
    assert household.model()["version"] == "1"
    household.wait_answers()
    # the same bytes, brought anew, are as good as ever
    assert install(household, tmp_path / "2.edgemodel", 0)["status"] == "done"
    assert household.model()["version"] == "2"


def test_processing_that_this_agent_does_not_know_is_refused_in_the_trial(household: Household, tmp_path: Path) -> None:
    household.write_config(bundle=tiny_bundle(tmp_path / "1.edgemodel", version="1").path, repository=False)
    household.start_agent()
    household.wait_answers()
    newer = tiny_bundle(tmp_path / "2.edgemodel", version="2", seed=2)
    manifest = replace(newer.manifest, preprocess=(Step("warp"),))
    write_bundle(newer.path, manifest, newer.files)
    assert "warp" in install(household, newer.path, 1)["reason"]
    household.wait_answers()
    household.assert_nothing_lost()


def test_a_version_that_crashes_again_and_again_gives_way_for_good(household: Household, tmp_path: Path) -> None:
    household.extra = "[engine]\ncrash_limit = 2\n"
    household.write_config(bundle=tiny_bundle(tmp_path / "1.edgemodel", version="1").path, repository=False)
    agent = household.start_agent()
    household.wait_answers()
    assert install(household, tiny_bundle(tmp_path / "2.edgemodel", version="2", seed=2).path, 0)["status"] == "done"
    for _ in range(2):
        pid = household.pid("worker:")
        kill_hard(pid)
        wait_for(
            lambda p=pid: any(x["role"].startswith("worker:") and x["pid"] != p for x in household.status()["processes"]), 20, "a worker"
        )
    wait_for(lambda: household.model()["version"] == "1", 20, f"version 1 serves again\n{household.log('agent')[-2000:]}")
    household.wait_answers()
    household.assert_nothing_lost()
    agent.terminate()
    agent.wait()
    household.start_agent()
    assert household.model()["version"] == "1"
    wait_for(lambda: household.status()["update"]["state"] == "IDLE", 20, "the end of the way back")
    assert "crashes again and again" in install(household, tmp_path / "2.edgemodel", 1)["reason"]


def test_a_bundle_taken_in_before_a_kill_is_installed_and_then_removed(household: Household, tmp_path: Path) -> None:
    household.write_config(bundle=tiny_bundle(tmp_path / "1.edgemodel", version="1").path, repository=False, watch_s=3)
    agent = household.start_agent()
    household.wait_answers()
    household.start(
        "client",
        BIN / "edge-agent",
        "install",
        tiny_bundle(tmp_path / "2.edgemodel", version="2", seed=2).path,
        "--config",
        household.config,
    )
    wait_for(lambda: household.status()["update"]["state"] == "WATCHING", 20, "probation")
    uploads = tmp_path / "state" / "update" / "uploads"
    assert list(uploads.iterdir())
    kill_hard(agent.pid)
    agent.wait()
    household.start_agent()
    wait_for(lambda: household.status()["update"]["result"] == "reported done", 20, "the end of probation")
    assert not list(uploads.iterdir())


def test_an_update_on_probation_can_be_cancelled(household: Household, tmp_path: Path) -> None:
    household.write_config(bundle=tiny_bundle(tmp_path / "1.edgemodel", version="1").path, repository=False, watch_s=600)
    household.start_agent()
    assert "no update under way" in tool("edge-agent", "cancel", "--config", household.config, expect=1).stderr
    second = tiny_bundle(tmp_path / "2.edgemodel", version="2", seed=2)
    waiting = household.start("install", BIN / "edge-agent", "install", second.path, "--config", household.config)
    wait_for(lambda: household.status()["update"]["state"] == "WATCHING", 20, "probation begins")
    household.wait_answers()
    tool("edge-agent", "cancel", "--config", household.config)
    assert waiting.wait(timeout=20) == 1
    assert household.model()["version"] == "1"
    household.wait_answers()
    household.assert_nothing_lost()
