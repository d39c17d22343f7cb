"""The process is started, kept alive and ended; and told of in events."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from front_rig import FrontRig
from grpc_rig import GrpcRig
from waiting import wait_for

from edge_agent.clock import SystemClock
from edge_agent.errors import ConfigError, EdgeError
from edge_agent.serving import grpc_process
from edge_agent.serving.grpc_process import GrpcProcess
from edge_agent.values import Event


def made(tmp_path: Path, events: list[Event], listen: str = "127.0.0.1:0", token_file: Path | None = None) -> GrpcProcess:
    return GrpcProcess(tmp_path / "api.sock", listen, token_file, events.append, SystemClock())


def test_one_that_dies_is_started_again_where_it_was(rig: GrpcRig) -> None:
    url, pid = rig.process.url, rig.process.pid
    assert rig.infer(rig.request()).model_name == "tiny"
    for count, number in enumerate((signal.SIGKILL, signal.SIGSEGV), 1):
        os.kill(rig.process.pid, number)
        wait_for(lambda count=count: len(rig.events) == count and rig.process.pid, what="the next process")
        assert (rig.events[-1].kind, rig.events[-1].data["code"]) == ("grpc_died", -number)
        request = rig.request().SerializeToString()
        assert rig.method("ModelInfer")(request, timeout=15, wait_for_ready=True)
    assert rig.process.url == url and rig.process.pid != pid


def test_one_that_cannot_come_back_is_tried_again_more_slowly(tmp_path: Path) -> None:
    events: list[Event] = []
    process = made(tmp_path, events)
    process.start()
    host, _, port = process.url.rpartition(":")
    os.kill(process.pid, signal.SIGSTOP)
    os.kill(process.pid, signal.SIGKILL)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wait_for(lambda: _bound(taken, host, int(port)), what="its port")
        taken.listen()
        wait_for(lambda: [e for e in events if e.kind == "grpc_unavailable"], 20.0, "the news")
    told = next(event for event in events if event.kind == "grpc_unavailable")
    assert "cannot listen here" in told.message and told.level == "error"
    wait_for(lambda: process.pid and _listens(host, int(port)), 30.0, "its return")
    process.stop()


def _bound(sock: socket.socket, host: str, port: int) -> bool:
    try:
        sock.bind((host, port))
    except OSError:
        return False
    return True


def _listens(host: str, port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((host, port)) == 0


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    events: list[Event] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = made(tmp_path, events, f"127.0.0.1:{port}")
        with pytest.raises(EdgeError, match=f"api.grpc: 127.0.0.1:{port}: gRPC cannot listen here"):
            process.start()
    assert process.pid == 0 and not events


@pytest.mark.parametrize(("mode", "why"), [(0o644, "everyone may read this token"), (0o600, "16 or more")])
def test_a_token_that_cannot_be_used(tmp_path: Path, mode: int, why: str) -> None:
    token = tmp_path / "token"
    token.write_text("short")
    token.chmod(mode)
    with pytest.raises(EdgeError, match=why):
        made(tmp_path, [], token_file=token).start()


def test_the_end(tmp_path: Path) -> None:
    events: list[Event] = []
    process = made(tmp_path, events, f"unix:{tmp_path}/grpc.sock")
    process.start()
    assert process.url == f"unix:{tmp_path}/grpc.sock"
    child = psutil.Process(process.pid)
    process.stop()
    assert not child.is_running() and not events
    process.stop()


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_process, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"api.grpc: gRPC needs grpcio and protobuf: pip install 'edge-runtime\[grpc\]'"):
        made(tmp_path, []).start()


PARENT = """
import sys, threading
from pathlib import Path
from edge_agent.clock import SystemClock
from edge_agent.serving.grpc_process import GrpcProcess
process = GrpcProcess(Path(sys.argv[1]), "127.0.0.1:0", None, print, SystemClock())
process.start()
assert not {"grpc", "google.protobuf", "asyncio", "numpy"} & set(sys.modules)
print(process.pid, flush=True)
threading.Event().wait()
"""


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "api.sock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    assert not psutil.wait_procs([child], timeout=10)[1]


def test_by_hand_it_ends_on_sigterm(make_front: Callable[..., FrontRig]) -> None:
    front = make_front()
    command = [sys.executable, "-m", "edge_agent.grpc_front", "--http", f"unix:{front.path}", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["listening"].startswith("127.0.0.1:")
        process.terminate()
        assert process.wait(15) == 0


@pytest.mark.parametrize(
    ("http", "listen", "why"),
    [
        ("127.0.0.1:80", "127.0.0.1:0", "must be unix:PATH"),
        ("unix:/x", "0.0.0.0:1", "only this machine's own"),
        ("unix:/x", "me", "is not 'unix'"),
    ],
)
def test_addresses_that_are_none(http: str, listen: str, why: str) -> None:
    command = [sys.executable, "-m", "edge_agent.grpc_front", "--http", http, "--listen", listen]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1 and why in json.loads(done.stdout)["refused"]
