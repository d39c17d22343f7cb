"""The HTTP server as a client on the wire sees it."""

from __future__ import annotations

import http.client
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import wait_for

from edge_agent.clock import SystemClock
from edge_agent.errors import TransportError
from fleet_controller.serve import PublicServer

DATA = bytes(range(256)) * 40


@pytest.fixture
def public(tmp_path: Path) -> Path:
    root = tmp_path / "public"
    (root / "targets" / "m").mkdir(parents=True)
    (root / "targets" / "m" / f"{'a' * 64}.1+x.edgemodel").write_bytes(DATA)
    (root / "timestamp.json").write_bytes(b"{}")
    (root / ".secret").write_bytes(b"no")
    (root / "empty.json").write_bytes(b"")
    (tmp_path / "outside.txt").write_bytes(b"no")
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    os.mkfifo(root / "pipe")
    return root


@pytest.fixture
def server(public: Path) -> Iterator[PublicServer]:
    made = PublicServer(("127.0.0.1", 0), public, SystemClock(), max_connections=3, request_s=0.3)
    thread = threading.Thread(target=lambda: made.serve_forever(poll_interval=0.05), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


FILE = f"/targets/m/{'a' * 64}.1+x.edgemodel"


def ask(server: PublicServer, path: str = FILE, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_whole_file_with_its_length_and_tag(server: PublicServer) -> None:
    status, headers, body = ask(server)
    assert (status, body) == (200, DATA)
    assert headers["content-length"] == str(len(DATA)) and headers["accept-ranges"] == "bytes"
    assert "immutable" in headers["cache-control"]
    assert ask(server, "/timestamp.json")[1]["cache-control"] == "no-cache"
    assert ask(server, FILE.replace("+", "%2B"))[2] == DATA


def test_head_is_the_same_without_the_body(server: PublicServer) -> None:
    status, headers, body = ask(server, method="HEAD", Range="bytes=0-1")
    assert (status, headers["content-length"], body) == (200, str(len(DATA)), b"")


def test_a_part_goes_on_where_it_stopped(server: PublicServer) -> None:
    status, headers, body = ask(server, Range="bytes=10000-")
    assert (status, body) == (206, DATA[10000:])
    assert headers["content-range"] == f"bytes 10000-{len(DATA) - 1}/{len(DATA)}"
    assert ask(server, Range="bytes=5-9")[2] == DATA[5:10]
    assert ask(server, Range="bytes=-7")[2] == DATA[-7:]


def test_a_part_behind_the_end_is_refused_with_the_size(server: PublicServer) -> None:
    status, headers, body = ask(server, Range=f"bytes={len(DATA)}-")
    assert (status, headers["content-range"], body) == (416, f"bytes */{len(DATA)}", b"")


def test_a_part_of_another_version_of_the_file_is_not_continued(server: PublicServer) -> None:
    tag = ask(server)[1]["etag"]
    assert ask(server, Range="bytes=10-", If_Range=tag)[0] == 206
    assert ask(server, Range="bytes=10-", If_Range='"other"')[0] == 200
    assert ask(server, If_None_Match=tag)[0] == 304


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/targets",
        "/targets/",
        "/targets/m/",
        "/../outside.txt",
        "/%2e%2e/outside.txt",
        "/..%2foutside.txt",
        "/targets/../../outside.txt",
        "/.secret",
        "/link.txt",
        "/pipe",
        "/timestamp.json/",
        "/timestamp.json%00",
        "/%ff",
        "/missing.json",
        "/targets/m/" + "x" * 300,
    ],
)
def test_nothing_but_public_files(server: PublicServer, path: str) -> None:
    status, _, body = ask(server, path)
    assert (status, body) == (404, b"")


def test_an_empty_file_is_empty(server: PublicServer) -> None:
    assert ask(server, "/empty.json")[::2] == (200, b"")
    assert ask(server, "/empty.json", Range="bytes=0-")[0] == 416


def test_other_methods_are_not_understood(server: PublicServer) -> None:
    assert ask(server, method="PUT")[0] == 501


def test_a_connection_serves_one_request_after_another(server: PublicServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
    for _ in range(3):
        connection.request("GET", "/timestamp.json")
        assert connection.getresponse().read() == b"{}"
    connection.close()


def test_clients_that_never_finish_asking_are_hung_up_on(server: PublicServer) -> None:
    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=5) as slow:
        slow.sendall(b"GET /timestamp.json HTTP/1.1\r\nX: ")
        assert slow.recv(100) == b""


def test_more_clients_than_places_are_told_to_come_back(server: PublicServer) -> None:
    idle = [socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=5) for _ in range(3)]
    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=5) as fourth:
        assert fourth.recv(12) == b"HTTP/1.1 503"
    for one in idle:
        one.close()
    wait_for(lambda: answers(server), 5, "places are free again")


def answers(server: PublicServer) -> bool:
    try:
        return ask(server)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_a_taken_port_is_named(server: PublicServer, public: Path) -> None:
    with pytest.raises(TransportError, match="already in use"):
        PublicServer(("127.0.0.1", server.server_address[1]), public, SystemClock())
