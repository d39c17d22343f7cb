"""The local API of a running device, while its model is updated and its processes die."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from end_to_end.household import Household, kill_hard, tool
from models import CHANNELS, tiny_bundle
from waiting import wait_for

from examples.demo.processes import free_port

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(120)]


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(self._path))


def call(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    text = response.read()
    return response.status, json.loads(text) if text else None


@dataclass
class Client:
    """Asks without a pause until told to stop."""

    path: Path
    versions: list[str] = field(default_factory=list)
    failures: list[Any] = field(default_factory=list)
    halt: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        connection = UnixConnection(self.path)
        while not self.halt.is_set():
            status, answer = call(connection, "POST", "/v2/models/tiny/infer", REQUEST)
            if status == 200:
                self.versions.append(answer["model_version"])
            else:
                self.failures.append(answer)


REQUEST = {"inputs": [{"name": "x", "shape": [1, CHANNELS], "datatype": "FP32", "data": [0.5] * CHANNELS}]}


@contextmanager
def asking(path: Path, count: int) -> Iterator[list[Client]]:
    clients = [Client(path) for _ in range(count)]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        for client, thread in zip(clients, threads, strict=True):
            client.halt.set()
            thread.join(20)


def start(household: Household, tmp_path: Path) -> tuple[Path, int, str]:
    """The agent with its API; socket, port and token."""
    port, token = free_port(), secrets.token_hex(16)
    file = household.folder / "token"
    file.write_text(token)
    file.chmod(0o600)
    household.extra = f'[api]\nlisten = ["unix", "127.0.0.1:{port}"]\ntoken_file = "token"\nload = true\n'
    household.write_config(bundle=tiny_bundle(tmp_path / "1.edgemodel", version="1").path, repository=False)
    household.start_agent()
    return household.folder / "run" / "api.sock", port, token


def test_over_tcp_every_request_needs_the_token_and_over_the_socket_file_none(household: Household, tmp_path: Path) -> None:
    path, port, token = start(household, tmp_path)
    over_tcp = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    assert call(over_tcp, "POST", "/v2/models/tiny/infer", REQUEST)[0] == 401
    status, answer = call(over_tcp, "POST", "/v2/models/tiny/infer", REQUEST, token)
    assert status == 200 and answer["model_version"] == "1"
    assert call(over_tcp, "GET", "/v2/health/ready", token="x" * 32)[0] == 401
    assert call(UnixConnection(path), "GET", "/v2/health/ready")[0] == 200
    assert path.stat().st_mode & 0o777 == 0o660


def test_no_request_fails_while_the_model_is_updated_and_its_processes_die(household: Household, tmp_path: Path) -> None:
    path, _, _ = start(household, tmp_path)
    household.wait_answers()
    with asking(path, 2) as clients:
        wait_for(lambda: all(len(client.versions) > 50 for client in clients), what="answers")
        kill_hard(household.pid("worker"))
        reached = [len(client.versions) + 50 for client in clients]
        wait_for(lambda: all(len(c.versions) > n for c, n in zip(clients, reached, strict=True)), what="answers after the death")
        tool("edge-agent", "install", tiny_bundle(tmp_path / "2.edgemodel", version="2", seed=2).path, "--config", household.config)
        wait_for(lambda: all(client.versions[-1] == "2" for client in clients), what="answers of the new version")
    assert not [failure for client in clients for failure in client.failures]
    assert all(client.versions == sorted(client.versions) for client in clients), "an answer of the old version came after the new one's"
    household.assert_nothing_lost()


def test_the_api_comes_back_and_its_sockets_refuse_nobody_meanwhile(household: Household, tmp_path: Path) -> None:
    path, _, _ = start(household, tmp_path)
    assert call(UnixConnection(path), "GET", "/v2/health/live")[0] == 200
    kill_hard(household.pid("api"))
    assert call(UnixConnection(path), "POST", "/v2/models/tiny/infer", REQUEST)[0] == 200, "the connection waited for the new process"
    household.wait_answers()


def test_a_model_that_a_pipeline_uses_is_not_unloaded_and_an_unknown_one_is_named(household: Household, tmp_path: Path) -> None:
    path, _, _ = start(household, tmp_path)
    status, answer = call(UnixConnection(path), "POST", "/v2/repository/models/tiny/unload", {})
    assert status >= 400 and "pipeline line uses it" in answer["error"]
    status, answer = call(UnixConnection(path), "POST", "/v2/repository/models/nobody/load", {})
    assert status >= 400 and "nobody" in answer["error"]


def test_an_address_that_is_taken_is_told_and_the_device_serves_all_the_same(household: Household, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        household.extra = f'[api]\nlisten = ["127.0.0.1:{taken.getsockname()[1]}"]\ntoken_file = "token"\n'
        token = household.folder / "token"
        token.write_text(secrets.token_hex(16))
        token.chmod(0o600)
        household.write_config(bundle=tiny_bundle(tmp_path / "1.edgemodel", version="1").path, repository=False)
        household.start_agent()
        household.wait_answers()
    assert "cannot listen here" in household.log("agent")
