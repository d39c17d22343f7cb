"""Expected errors: one clear line, the right exit status, no traceback."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from brokers import mosquitto
from models import tiny_bundle

from examples.demo.processes import free_port
from fleet_controller.__main__ import main


def complaint(capsys: pytest.CaptureFixture[str], *words: str, status: int = 1) -> str:
    """The one line on stderr of a command that must end with ``status``."""
    assert main(words) == status
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("edge-fleet: "), err
    return err


@pytest.fixture
def state(tmp_path: Path) -> tuple[str, ...]:
    return ("--state", str(tmp_path / "state"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("deploy", "digits", "--to", "all"), "write NAME@VERSION"),
        (("deploy", "digits@", "--to", "all"), "write NAME@VERSION"),
        (("deploy", "a b@1", "--to", "all"), "write NAME@VERSION"),
        (("rollback", "a/b", "--to", "all"), "is not a model's name"),
        (("deploy", "digits@1", "--to", "colour=red"), "unknown key 'colour'"),
        (("devices", "--broker", "host:port"), "write HOST, HOST:PORT or [IPV6]:PORT"),
        (("devices", "--broker", "::1"), "write HOST, HOST:PORT or [IPV6]:PORT"),
        (("devices", "--broker", ":1883"), "write HOST, HOST:PORT or [IPV6]:PORT"),
        (("devices", "--prefix", "edge/#"), "without '+' and '#'"),
        (("devices", "--password-file", "/nonexistent"), "needs --username"),
        (("devices", "--username", "u", "--password-file", "/nonexistent"), "/nonexistent: cannot read"),
        (("ping", "--id", "a/b"), "--id 'a/b'"),
    ],
)
def test_words_that_cannot_be_understood(
    capsys: pytest.CaptureFixture[str], state: tuple[str, ...], words: tuple[str, ...], told: str
) -> None:
    assert told in complaint(capsys, *words, *state, status=2)


@pytest.mark.parametrize(
    "words", [(), ("deploy",), ("deploy", "a@1"), ("ping", "--timeout", "0"), ("ping", "--timeout", "nan"), ("nonsense",)]
)
def test_usage(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2


def test_absent_broker(capsys: pytest.CaptureFixture[str], state: tuple[str, ...]) -> None:
    port = free_port()
    assert f"broker 127.0.0.1:{port}: nobody listens there" in complaint(capsys, "devices", "--broker", f"127.0.0.1:{port}", *state)


def test_unknown_host(capsys: pytest.CaptureFixture[str], state: tuple[str, ...]) -> None:
    assert "unknown host" in complaint(capsys, "devices", "--broker", "no-such-host.invalid", *state)


def test_a_server_that_is_no_broker(capsys: pytest.CaptureFixture[str], state: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleet_controller.link.CONNECT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert "is it an MQTT broker" in complaint(capsys, "devices", "--broker", f"127.0.0.1:{server.getsockname()[1]}", *state)


@pytest.mark.mosquitto
def test_wrong_password(capsys: pytest.CaptureFixture[str], state: tuple[str, ...], tmp_path: Path) -> None:
    users = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(users), "me", "right"], check=True, capture_output=True)
    users.chmod(0o644)
    (tmp_path / "wrong").write_text("wrong\n")
    (tmp_path / "right").write_text("right\n")
    with mosquitto(tmp_path / "broker", "allow_anonymous false", f"password_file {users}") as broker:
        words = ("devices", "--broker", f"127.0.0.1:{broker.port}", *state)
        assert "refused the connection: Not authorized" in complaint(capsys, *words)
        login = ("--username", "me", "--password-file")
        assert "refused the connection" in complaint(capsys, *words, *login, str(tmp_path / "wrong"))
        assert main([*words, *login, str(tmp_path / "right")]) == 0


def test_tls_without_a_usable_certificate_file(capsys: pytest.CaptureFixture[str], state: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    assert "ca.pem: not a readable file of CA certificates" in complaint(capsys, "devices", "--ca", str(tmp_path / "ca.pem"), *state)


def test_history_of_another_version(capsys: pytest.CaptureFixture[str], state: tuple[str, ...]) -> None:
    Path(state[1]).mkdir()
    path = Path(state[1]) / "fleet.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    assert "written by another version of edge-fleet (schema 99)" in complaint(capsys, "rollouts", *state)
    path.write_bytes(b"garbage" * 1000)
    assert "repair or remove it" in complaint(capsys, "rollouts", *state)
    assert "no such rollout" in complaint(capsys, "rollouts", "x", "--state", str(Path(state[1]) / "new"))


def test_not_a_repository(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "a.edgemodel")
    for words in (("publish", str(bundle.path)), ("refresh",), ("targets",), ("serve", "--port", "0")):
        assert "not a model repository; make one with 'edge-fleet init" in complaint(capsys, *words, "--repo", str(tmp_path))


def test_bad_bundles(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    repo = str(tmp_path / "repo")
    assert main(["init", repo, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["root"].endswith("public/root.json")
    (tmp_path / "noise.edgemodel").write_bytes(b"noise")
    assert "noise.edgemodel" in complaint(capsys, "publish", str(tmp_path / "noise.edgemodel"), "--repo", repo)
    assert "absent: no such file" in complaint(capsys, "publish", str(tmp_path / "absent"), "--repo", repo)
    assert "not an empty folder" in complaint(capsys, "init", repo)


def test_the_repository_commands_as_a_user_types_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    repo = str(tmp_path / "repo")
    bundle = tiny_bundle(tmp_path / "a.edgemodel", version="1.2.0")
    (tmp_path / "pass").write_text("sesame\n")
    secret = ("--passphrase-file", str(tmp_path / "pass"))
    assert main(["init", repo, *secret]) == 0
    assert main(["publish", str(bundle.path), "--repo", repo, *secret]) == 0
    assert f"published tiny@1.2.0  {bundle.path.stat().st_size} bytes  sha256 {bundle.digest}" in capsys.readouterr().out
    assert main(["publish", str(bundle.path), "--repo", repo, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["new"] is False
    assert main(["targets", "--repo", repo]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["tiny", "1.2.0"]
    assert main(["refresh", "--repo", repo, "--json", *secret]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"root", "targets", "snapshot", "timestamp"}
    assert "encrypted" in complaint(capsys, "refresh", "--repo", repo)


def test_broker_says_ready_ends_on_a_signal_and_names_a_taken_port() -> None:
    port = free_port()
    command = [sys.executable, "-m", "fleet_controller", "broker", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        second = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert second.returncode == 1
    assert (
        second.stderr
        == f"edge-fleet: 127.0.0.1:{port}: cannot listen: the port is already in use; stop what uses it or choose another --port\n"
    )


def test_talking_to_devices_needs_no_signing_library(tmp_path: Path) -> None:
    code = (
        "import sys, fleet_controller.__main__ as m\n"
        "m.main(['devices', '--broker', '127.0.0.1:1', '--state', sys.argv[1]])\n"
        "print([n for n in ('tuf', 'securesystemslib', 'cryptography', 'amqtt', 'numpy') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
