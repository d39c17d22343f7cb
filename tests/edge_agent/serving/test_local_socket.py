"""The local API through its socket: requests, attachments, hostile callers."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge_agent.__main__ import main
from edge_agent.errors import AgentUnreachable, CommandError, StoreError
from edge_agent.serving.local_client import call_agent
from edge_agent.serving.local_server import MAX_CONNECTIONS, LocalServer, Progress
from edge_agent.serving.local_socket import connect


def echo(request: Mapping[str, Any], fd: int | None, progress: Progress) -> Any:
    progress({"step": 1})
    return {"request": dict(request), "attached": None if fd is None else os.pread(fd, 100, 0).decode()}


def refuse(request: Mapping[str, Any], fd: int | None, progress: Progress) -> Any:
    raise CommandError("no such model")


def stumble(request: Mapping[str, Any], fd: int | None, progress: Progress) -> Any:
    raise OSError(28, "No space left on device")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Path]:
    # a folder deeper than a unix socket address may be long
    folder = tmp_path / ("deep" * 20) / ("deeper" * 20)
    folder.mkdir(parents=True)
    server = LocalServer(folder / "agent.sock")
    server.handle({"echo": echo, "refuse": refuse, "stumble": stumble})
    server.start()
    yield folder / "agent.sock"
    server.stop()
    assert not (folder / "agent.sock").exists()


def test_answer_progress_and_attachment_arrive(server: Path, tmp_path: Path) -> None:
    attachment = tmp_path / "file"
    attachment.write_text("content")
    steps: list[Mapping[str, Any]] = []
    answer = call_agent(server, {"call": "echo", "x": 1}, attach=attachment, on_progress=steps.append)
    assert answer == {"request": {"call": "echo", "x": 1}, "attached": "content"}
    assert steps == [{"step": 1}]


def test_a_refusal_keeps_the_agents_words(server: Path) -> None:
    with pytest.raises(CommandError, match="no such model"):
        call_agent(server, {"call": "refuse"})


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b'{"call": 3}\n', b'{"call": "nothing"}\n', b"{" * 5000 + b"\n"])
def test_rubbish_is_answered_or_hung_up_and_the_server_lives(server: Path, line: bytes) -> None:
    with connect(server, timeout_s=5) as conn:
        conn.sendall(line)
        answer = conn.makefile("rb").readline()
    assert not answer or "error" in json.loads(answer)
    assert call_agent(server, {"call": "echo"})["attached"] is None


def test_one_connection_too_many_is_told_so(server: Path) -> None:
    held = [connect(server, timeout_s=5) for _ in range(MAX_CONNECTIONS)]
    try:
        with pytest.raises((CommandError, AgentUnreachable)):
            call_agent(server, {"call": "echo"})
    finally:
        for conn in held:
            conn.close()


def test_a_stale_socket_of_a_dead_agent_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    server = LocalServer(path)
    server.handle({"echo": echo})
    server.start()
    assert call_agent(path, {"call": "echo"})["attached"] is None
    server.stop()


def test_a_socket_in_use_and_a_file_that_is_none_are_left_alone(server: Path, tmp_path: Path) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("years of work")
    for taken in (server, precious):
        with pytest.raises(StoreError, match=str(taken)):
            LocalServer(taken).start()
    assert precious.read_text() == "years of work"
    assert call_agent(server, {"call": "echo"})["attached"] is None


@pytest.mark.parametrize("command", [["status"], ["models"], ["rollback", "digits"]])
def test_without_an_agent_the_commands_say_so_with_status_4(tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--socket", str(tmp_path / "none.sock")]) == 4
    assert "no agent listens here" in capsys.readouterr().err


def test_installing_a_file_that_is_not_there_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", str(tmp_path / "none.edgemodel"), "--socket", str(tmp_path / "none.sock")]) == 1
    assert "none.edgemodel: no such file" in capsys.readouterr().err


def test_a_call_that_fails_unexpectedly_is_answered(server: Path) -> None:
    with pytest.raises(CommandError, match=r"stumble: OSError.*No space left"):
        call_agent(server, {"call": "stumble"})
    assert call_agent(server, {"call": "echo"})["request"] == {"call": "echo"}
