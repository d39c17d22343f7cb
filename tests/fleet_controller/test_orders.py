"""Orders to devices over a real broker, by the command line: what is sent, heard, written down, shown, and how it ends."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from brokers import Broker
from fleet_device import SimulatedDevice, ignore, obey, refuse
from waiting import wait_for

from edge_agent.protocol.messages import CommandMessage

Make = Callable[..., SimulatedDevice]
Fleet = Callable[..., int]


def lines(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], str]:
    out, err = capsys.readouterr()
    return out.splitlines(), err


def acknowledged(one: SimulatedDevice, command_id: str) -> bool:
    return command_id in one.acks


def later(work: Callable[[], Any]) -> Callable[[], Any]:
    """Run ``work`` on a thread; call the result to wait for it."""
    box: list[Any] = []
    thread = threading.Thread(target=lambda: box.append(work()), daemon=True)
    thread.start()

    def end() -> Any:
        thread.join(30)
        return box[0]

    return end


def test_deploy_tells_each_device_and_shows_what_became_of_it(device: Make, fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    devices = [device("press-1"), device("press-2")]
    assert fleet("deploy", "digits@2.0.0", "--to", "press-*", "--timeout", "20") == 0
    out, err = lines(capsys)
    assert out[0].split() == ["device", "from", "to", "result", "seconds", "reason"]
    assert [line.split()[:4] for line in out[1:]] == [["press-1", "1.0.0", "2.0.0", "done"], ["press-2", "1.0.0", "2.0.0", "done"]]
    assert "press-1  sent" in err and "press-2  FETCHING to TRYING" in err and "press-1  accepted" in err
    for one in devices:
        (command,) = one.commands
        assert (command.kind, command.args) == ("deploy", {"model": "digits", "version": "2.0.0"})
        left_s = (datetime.fromisoformat(command.expires.replace("Z", "+00:00")) - datetime.now(timezone.utc)).total_seconds()
        assert 0 < left_s < 21, "the order dies when nobody waits for it any more"
        wait_for(partial(acknowledged, one, command.id), 5, "the final result is acknowledged")


def test_one_refusal_fails_the_deploy_and_its_reason_is_shown(device: Make, fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    device("press-1")
    device("press-2", answer=refuse)
    assert fleet("deploy", "digits@3.0.0", "--to", "all", "--timeout", "20") == 1
    out, _ = lines(capsys)
    assert out[1].split()[3] == "done"
    assert out[2].split()[:4] == ["press-2", "1.0.0", "3.0.0", "refused"]
    assert out[2].endswith("golden input 0 is off by 0.9")


def test_only_the_selected_devices_are_told(device: Make, fleet: Fleet) -> None:
    lab, field = device("a", labels={"site": "lab"}), device("b", labels={"site": "field"})
    other = device("c", labels={"site": "lab"}, profile="rpi5")
    assert fleet("deploy", "digits@2", "--to", "profile=rpi4,label.site=lab", "--timeout", "20") == 0
    assert [len(one.commands) for one in (lab, field, other)] == [1, 0, 0]


def test_a_silent_device_is_silent_not_failed(device: Make, fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    device("mute", answer=ignore)
    assert fleet("deploy", "digits@2", "--to", "mute", "--timeout", "0.5", "--json") == 1
    (entry,) = json.loads(capsys.readouterr().out)["devices"]
    assert entry["result"] == "silent"
    assert "no answer; sent once" in entry["reason"]


def test_a_device_that_accepts_and_falls_silent_says_where_it_was(device: Make, fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    def stall(one: SimulatedDevice, command: CommandMessage) -> None:
        one.result(command, "accepted")
        one.event(command, "IDLE", "FETCHING")

    device("stuck", answer=stall)
    assert fleet("deploy", "digits@2", "--to", "stuck", "--timeout", "0.7", "--json") == 1
    (entry,) = json.loads(capsys.readouterr().out)["devices"]
    assert (entry["result"], entry["reason"]) == ("silent", "accepted the order and gave no result in time (last heard: FETCHING)")


def test_an_offline_device_gets_the_order_when_it_is_born(
    broker: Broker, device: Make, fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    device("late").vanish()
    wait_for(lambda: fleet("devices", "late,state=offline") == 0, 10, "the broker tells that it is gone")
    capsys.readouterr()
    end = later(lambda: fleet("deploy", "digits@2.0.0", "--to", "late", "--timeout", "30"))
    born: list[SimulatedDevice] = []
    wait_for(lambda: fleet("rollouts") == 0 and "1 pending" in capsys.readouterr().out, 10, "the rollout has begun")
    born.append(device("late", boot="b2"))
    assert end() == 0
    assert len(born[0].commands) == 1


def test_an_offline_device_is_selected_by_what_it_said_before(device: Make, fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    one = device("gone", labels={"site": "lab"})
    assert fleet("devices", "label.site=lab") == 0
    one.vanish()
    wait_for(lambda: fleet("devices", "gone,state=offline") == 0, 10, "the broker tells that it is gone")
    assert fleet("devices", "gone,label.site=lab,profile=rpi4") == 0
    assert fleet("deploy", "digits@2", "--to", "label.site=lab", "--timeout", "0.3") == 1
    out, _ = lines(capsys)
    assert out[-1].endswith("was never connected in that time")


def test_a_reborn_device_is_told_again_under_the_same_id(device: Make, fleet: Fleet) -> None:
    told = threading.Event()
    one = device("reboots", answer=lambda d, c: told.set())
    end = later(lambda: fleet("deploy", "digits@2", "--to", "reboots", "--timeout", "30"))
    assert told.wait(10)
    one.boot = "b2"
    one._answer = obey
    one.status()
    assert end() == 0
    assert len({command.id for command in one.commands}) == 1


def test_no_wait_leaves_the_results_for_later(device: Make, fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    one = device("press-1", answer=ignore)
    assert fleet("deploy", "digits@2", "--to", "press-1", "--no-wait", "--id", "order-7") == 0
    assert "order-7: 1 sent" in capsys.readouterr().out
    wait_for(lambda: one.commands, 5, "the order arrives")
    one._answer = refuse
    one.result(one.commands[0], "refused", reason="too hot")
    end = later(lambda: fleet("rollouts", "order-7", "--collect", "100", "--json"))

    def told_again() -> bool:
        one.repeat("order-7")
        return acknowledged(one, "order-7")

    wait_for(told_again, 10, "somebody writes the result down")
    assert end() == 0
    (past,) = json.loads(capsys.readouterr().out)
    assert [(o["device"], o["phase"], o["reason"]) for o in past["outcomes"]] == [("press-1", "refused", "too hot")]


def test_results_of_strangers_are_not_acknowledged(device: Make, fleet: Fleet) -> None:
    one = device("press-1")
    end = later(lambda: fleet("rollouts", "--collect", "0.5"))
    one.result(CommandMessage("somebody-elses", "ping"), "done")
    assert end() == 0
    assert one.acks == []


def test_rollback_reports_the_version_it_went_back_to(device: Make, fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    device("press-1", version="2.0.0")
    assert fleet("rollback", "digits", "--to", "press-1", "--timeout", "20") == 0
    assert lines(capsys)[0][1].split()[:4] == ["press-1", "2.0.0", "0.9.0", "done"]


def test_ping_and_devices_as_json(device: Make, fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    device("press-1", labels={"site": "lab"})
    assert fleet("ping", "--json") == 0
    assert json.loads(capsys.readouterr().out)["devices"][0]["data"] == {"agent_version": "9"}
    assert fleet("devices", "--json") == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["device"], entry["state"], entry["labels"]) == ("press-1", "online", {"site": "lab"})
    assert entry["models"][0]["version"] == "1.0.0"


def test_nobody_matches(device: Make, fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    one = device("press-1")
    assert fleet("deploy", "digits@2", "--to", "pres-*") == 1
    assert "id=pres-*: no known device matches (known: press-1)" in capsys.readouterr().err
    assert one.commands == []


def test_what_is_no_message_is_named_once_and_ignored(device: Make, fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    def babble(one: SimulatedDevice, command: CommandMessage) -> None:
        one.raw("result", b"{")
        one.raw("result", b"\x1b[2J")
        one.raw("events", b'{"v": 99}')
        one.raw("result", json.dumps({"v": 1, "device": "b", "id": command.id, "kind": "ping", "status": "done", "t": ""}).encode())
        one.result(command, "nonsense")
        obey(one, command)

    device("a", answer=babble)
    device("b", answer=ignore)
    assert fleet("ping", "--to", "all", "--timeout", "1") == 1
    out, err = lines(capsys)
    assert [line.split()[3] for line in out[1:]] == ["done", "silent"], "a device cannot answer for another"
    assert err.count("ignored a message") == 1
    assert "\x1b" not in err


def test_watch_once_shows_what_each_device_measures(device: Make, fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    one = device("press-1")
    device("press-2").vanish()
    shown = ""
    end = later(lambda: fleet("watch", "--once", "--seconds", "20"))

    def table_is_there() -> bool:
        nonlocal shown
        one.metrics()
        shown += capsys.readouterr().out
        return "press-2" in shown

    wait_for(table_is_there, 25, "the table")
    assert end() == 0
    head, first, second = shown.splitlines()
    assert head.split()[:4] == ["device", "state", "model", "update"]
    assert "digits@1.0.0  IDLE    99.5    0.40    0.90    1.50         17.5     42.5    51.2       3" in first
    assert second.split()[0] == "press-2"


def test_watch_prints_a_line_for_each_message(device: Make, fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    device("quiet", profile="rpi5")
    talker = device("press-1")
    stop = threading.Event()

    def talk() -> None:
        while not stop.wait(0.05):
            talker.metrics()

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    assert fleet("watch", "profile=rpi4", "--seconds", "0.6") == 0
    assert fleet("watch", "--seconds", "0.4", "--json") == 0
    stop.set()
    thread.join()
    out, _ = lines(capsys)
    line = next(text for text in out if text.startswith("press-1  online") and "Hz" in text)
    assert line == (
        "press-1  online  digits@1.0.0  update IDLE  Hz 99.5  p50 ms 0.40  p95 ms 0.90  p99 ms 1.50  "
        "board cpu % 17.5  PSS MiB 42.5  temp C 51.2  queued 3"
    )
    messages = [json.loads(text) for text in out if text.startswith("{")]
    assert {m["kind"] for m in messages} == {"metrics"} and messages[0]["pipelines"][0]["rate_hz"] == 99.5


def test_watch_draws_over_its_own_lines_on_a_terminal(broker: Broker, device: Make, tmp_path: Path) -> None:
    device("press-1").metrics()
    device("press-2")
    shown, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 60, 0, 0))
    words = ("watch", "--seconds", "1.2", "--broker", f"127.0.0.1:{broker.port}", "--state", str(tmp_path))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    done = subprocess.run([sys.executable, "-m", "fleet_controller", *words], stdout=terminal, env=environment, timeout=30, check=False)
    os.close(terminal)
    text = os.read(shown, 1 << 16).decode()
    os.close(shown)
    assert done.returncode == 0
    first, *others = text.split("\x1b[J")[1:]
    assert len(others) >= 2
    assert "\x1b[3A" in first and text.count("\x1b[3A") == len(others), "a head and two devices are drawn over"
    assert max(len(line) for line in others[-1].splitlines()) < 60, others[-1]
    assert [line.split()[0] for line in others[-1].splitlines()] == ["device", "press-1", "press-2"]


def test_watch_without_a_device_says_so(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet("watch", "--seconds", "0.2") == 1
    assert "no device matches all" in capsys.readouterr().err


def test_deploy_checks_the_repository_first_and_pins_the_hash(
    device: Make, fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from models import tiny_bundle

    from fleet_controller.__main__ import main

    bundle = tiny_bundle(tmp_path / "a.edgemodel", version="1.0.0")
    assert main(["init", str(tmp_path / "repo")]) == 0
    assert main(["publish", str(bundle.path), "--repo", str(tmp_path / "repo")]) == 0
    one = device("press-1")
    assert fleet("deploy", "tiny@2", "--to", "all", "--repo", str(tmp_path / "repo")) == 1
    assert "tiny@2 is not published there (published: tiny@1.0.0)" in capsys.readouterr().err
    assert one.commands == []
    assert fleet("deploy", "tiny@1.0.0", "--to", "all", "--repo", str(tmp_path / "repo"), "--timeout", "20") == 0
    assert one.commands[0].args["digest"] == bundle.digest
