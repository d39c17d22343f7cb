"""The unit file as systemd itself judges it, and the promises that a later change must not lose."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.config_file import load_config

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = SYSTEMD / "edge-agent.service"

needs_systemd_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on PATH")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@needs_systemd_analyze
def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("/opt/edge-agent/bin/edge-agent", sys.executable).replace("Documentation=", "X-Documentation=")
    copy = tmp_path / UNIT.name
    copy.write_text(text)
    done = analyze("verify", str(copy))
    ours = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert not ours and done.returncode == 0, done.stderr


@needs_systemd_analyze
def test_exposure_is_at_most_2() -> None:
    done = analyze("security", "--offline=true", "--threshold=20", str(UNIT))
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze is older than 250 and has no --offline")
    assert done.returncode == 0, done.stdout[-500:] + done.stderr


class _Repeated(dict[str, str]):
    """systemd lets a key be given again; configparser calls this for each, so that lists add up."""

    def __setitem__(self, key: str, value: object) -> None:
        if isinstance(value, list) and key in self:
            value = [*self[key], *value]
        super().__setitem__(key, value)  # type: ignore[assignment]


def service() -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False, dict_type=_Repeated, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return {**parser["Unit"], **parser["Service"]}


def test_it_never_gives_up() -> None:
    unit = service()
    assert (unit["Restart"], unit["StartLimitIntervalSec"], unit["Type"]) == ("always", "0", "notify")
    assert int(unit["WatchdogSec"]) > 0


def test_memory_information_stays_visible() -> None:
    assert "ProcSubset" not in service(), "ProcSubset=pid hides /proc/meminfo, which telemetry reads"


def test_no_runtime_may_phone_home() -> None:
    assert "ORT_DISABLE_TELEMETRY=1" in service()["Environment"]


def test_user_and_folders_agree_across_the_files() -> None:
    unit = service()
    assert f"u {unit['User']} " in (SYSTEMD / "edge-agent.sysusers.conf").read_text()
    assert f"d /etc/edge-agent 0750 root {unit['Group']}" in (SYSTEMD / "edge-agent.tmpfiles.conf").read_text()
    assert unit["StateDirectory"] == unit["RuntimeDirectory"] == "edge-agent"


def test_the_configuration_stays_read_only() -> None:
    assert "ConfigurationDirectory" not in service(), "it mounts the folder writable inside the service"


@pytest.mark.skipif(shutil.which("sh") is None, reason="no shell")
@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), (["--unknown"], 2), (["--root"], 1), (["--root", "/nonexistent"], 1)])
def test_the_installer_says_how_it_is_used(arguments: list[str], status: int) -> None:
    done = subprocess.run([SYSTEMD / "install.sh", *arguments], capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == status
    assert done.stdout or done.stderr


EXAMPLE = SYSTEMD / "agent.toml"


def test_the_example_configuration_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(EXAMPLE.read_text().replace("@HOSTNAME@", "box-1"))
    assert load_config(path).device.id == "box-1"


def test_the_example_is_valid_with_every_suggestion_taken(tmp_path: Path) -> None:
    taken = [re.sub(r"^# ?(?=\[|\w+ = |$)", "", line) for line in EXAMPLE.read_text().splitlines()]
    path = tmp_path / "agent.toml"
    path.write_text("\n".join(taken).replace("@HOSTNAME@", "box-1"))
    config = load_config(path)
    assert config.mqtt.host and config.updates.repository and config.models and config.pipelines
