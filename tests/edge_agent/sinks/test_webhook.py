"""Predictions to a web server: receipts, refusals, servers that hang, break off and lie, and secrets that stay secret."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from made_predictions import prediction
from waiting import wait_for
from web_server import WebServer, raw, status

from edge_agent.clock import SystemClock
from edge_agent.errors import SinkError, SinkRefused
from edge_agent.pipeline.outlet import Outlet
from edge_agent.sinks.terms import SinkTerms
from edge_agent.sinks.webhook import WebhookSink, open_sink
from edge_agent.values import SinkCounts


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as started:
        yield started


def hook(server: WebServer, **options: Any) -> WebhookSink:
    return open_sink("out", {"url": f"http://127.0.0.1:{server.port}/in?key=hush", "timeout_s": 5, **options})


def numbers(body: bytes) -> list[int]:
    tree = json.loads(body)
    return [item["window_seq"] for item in (tree if isinstance(tree, list) else [tree])]


def post(sink: WebhookSink, *which: int) -> None:
    sink.emit_all([prediction(number) for number in which])


def test_one_prediction_is_an_object_and_the_connection_is_kept(server: WebServer) -> None:
    sink = hook(server, headers={"X-Site": "plant 4"})
    post(sink, 1)
    post(sink, 2)
    first, second = server.requests
    assert json.loads(first.body)["label"] == "ok" and numbers(second.body) == [2]
    assert first.target == "/in?key=hush" and first.connection == second.connection
    assert first.headers["content-type"] == "application/json" and first.headers["x-site"] == "plant 4"
    assert first.headers["host"] == f"127.0.0.1:{server.port}"
    sink.close()


def test_several_are_an_array_and_so_is_one_of_a_batch(server: WebServer) -> None:
    sink = hook(server, batch=10)
    post(sink, 1, 2, 3)
    post(sink, 4)
    assert [json.loads(request.body)[-1]["window_seq"] for request in server.requests] == [3, 4]


@pytest.mark.parametrize("code", [400, 401, 403, 404, 413, 422, 301, 308])
def test_a_refusal_is_for_good(server: WebServer, code: int) -> None:
    server.script.append(status(code))
    with pytest.raises(SinkRefused, match=str(code)):
        post(hook(server), 1)


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_said_to(server: WebServer, code: int) -> None:
    server.script.append(status(code, headers="Retry-After: 7\r\n"))
    with pytest.raises(SinkError, match=str(code)) as raised:
        post(hook(server), 1)
    assert raised.value.retryable and raised.value.pause_s == 7


@pytest.mark.parametrize(("header", "pause_s"), [("999999999", 300), ("Wed, 21 Oct 2026 07:28:00 GMT", 0), ("-1", 0), ("1e9", 0)])
def test_a_server_cannot_ask_for_any_pause(server: WebServer, header: str, pause_s: float) -> None:
    server.script.append(status(503, headers=f"Retry-After: {header}\r\n"))
    with pytest.raises(SinkError) as raised:
        post(hook(server), 1)
    assert raised.value.pause_s == pause_s


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
def test_an_answer_that_breaks_off_or_is_none_may_pass(server: WebServer, answer: bytes) -> None:
    sink = hook(server)
    server.script.append(raw(answer))
    with pytest.raises(SinkError) as raised:
        post(sink, 1)
    assert raised.value.retryable
    post(sink, 2)
    assert numbers(server.requests[-1].body) == [2]


def test_a_connection_that_is_reset_in_the_middle_may_pass(server: WebServer) -> None:
    def reset(connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    server.script.append(reset)
    with pytest.raises(SinkError):
        post(hook(server), 1)


def test_a_kept_connection_that_the_server_gave_up_is_no_failure(server: WebServer) -> None:
    sink = hook(server)
    server.script.append(status(200, keep=False))
    post(sink, 1)
    post(sink, 2)
    assert [numbers(request.body) for request in server.requests] == [[1], [2]]


@pytest.mark.parametrize("how", ["hang", "trickle"])
def test_a_server_that_hangs_or_trickles_is_given_up_in_time(server: WebServer, how: str) -> None:
    sink = hook(server, timeout_s=0.2)
    server.script.append(getattr(server, how))
    with pytest.raises(SinkError, match=r"timed out|no whole answer in 0\.2 s"):
        post(sink, 1)
    server.script.clear()
    post(sink, 2)


def test_an_endless_body_is_not_read(server: WebServer) -> None:
    server.script.append(status(200, b"x" * 1_000_000))
    sink = hook(server)
    post(sink, 1)
    post(sink, 2)
    assert server.requests[0].connection != server.requests[1].connection


def test_nobody_there_may_pass() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SinkError, match=rf"out: http://127.0.0.1:{port}/: Connection refused") as raised:
        post(open_sink("out", {"url": f"http://127.0.0.1:{port}/?key=hush"}), 1)
    assert raised.value.retryable and "hush" not in str(raised.value)


def test_closing_ends_a_post_under_way(server: WebServer) -> None:
    sink = hook(server, timeout_s=60)
    server.script.append(server.hang)
    errors: list[Exception] = []

    def run() -> None:
        try:
            post(sink, 1)
        except SinkError as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    wait_for(lambda: server.requests)
    sink.close()
    thread.join(10)
    assert len(errors) == 1


def test_a_token_goes_along_can_be_replaced_and_is_never_told(server: WebServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    sink = hook(server, token_file=str(token))
    post(sink, 1)
    token.write_text("n3w")
    server.script.append(status(403))
    with pytest.raises(SinkRefused) as raised:
        post(sink, 2)
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer s3cret", "Bearer n3w"]
    assert "n3w" not in str(raised.value)
    post(hook(server, token_file=str(token), token_header="X-Api-Key"), 3)
    assert server.requests[-1].headers["x-api-key"] == "n3w"


@pytest.mark.parametrize("content", [b"", b"s3cret\nother", b"s3cret\r\nX-Evil: 1", "sécret".encode(), b"\x00s3cret"])
def test_a_token_that_is_none_is_refused_without_showing_it(server: WebServer, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(SinkError, match="must hold the token alone") as raised:
        post(hook(server, token_file=str(tmp_path / "token")), 1)
    assert "cret" not in str(raised.value) and not server.requests


def test_a_token_file_that_is_missing_is_named(server: WebServer, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"token_file: .*none cannot be read .No such file"):
        post(hook(server, token_file=str(tmp_path / "none")), 1)
    assert not server.requests


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[WebServer, Authority]]:
    authority = Authority(tmp_path, "ours")
    certificate, key = authority.issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with WebServer(tls=context) as started:
        yield started, authority


def test_tls_is_verified(secure: tuple[WebServer, Authority], tmp_path: Path) -> None:
    server, authority = secure
    sink = open_sink("out", {"url": f"https://127.0.0.1:{server.port}/", "tls_ca": str(authority.ca)})
    post(sink, 1)
    post(sink, 2)
    assert [numbers(request.body) for request in server.requests] == [[1], [2]]
    for options in ({}, {"tls_ca": str(Authority(tmp_path, "theirs").ca)}):
        with pytest.raises(SinkError, match=r"certificate verify failed|CERTIFICATE_VERIFY_FAILED"):
            post(open_sink("out", {"url": f"https://127.0.0.1:{server.port}/", **options}), 3)
    with pytest.raises(SinkError, match=r"(?i)hostname mismatch|certificate is not valid"):
        post(open_sink("out", {"url": f"https://localhost:{server.port}/", "tls_ca": str(authority.ca)}), 4)
    assert len(server.requests) == 2


def test_an_authority_that_is_none_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("no certificate")
    for name in ("ca", "none"):
        with pytest.raises(SinkError, match="tls_ca"):
            open_sink("out", {"url": "https://h/", "tls_ca": str(tmp_path / name)})


def test_over_the_outlet_a_bad_hour_loses_nothing(server: WebServer) -> None:
    """Errors, a reset and a hang, then all is well: everything arrives, in order; what was refused is counted."""
    server.script.extend([status(500), status(503), raw(b""), server.hang, status(404)])
    sink = hook(server, batch=4, every_s=0.01, timeout_s=0.2)
    told: list[tuple[str, str, str]] = []
    outlet = Outlet([(sink, SinkTerms())], lambda *event: told.append(event), SystemClock())
    for number in range(20):
        outlet.emit(prediction(number))
    wait_for(lambda: outlet.counts()["out"].waiting == 0)
    outlet.close()
    counts = outlet.counts()["out"]
    assert counts.failed > 0 and counts == SinkCounts(20, 20 - counts.failed, 0, counts.failed, 0)
    arrived = [number for request in server.requests[5:] for number in numbers(request.body)]
    assert arrived == list(range(counts.failed, 20))
    assert [kind for kind, _, _ in told] == ["sink_lost", "sink_back"]


def test_what_no_server_takes_is_dropped_when_it_is_too_old(server: WebServer) -> None:
    server.script.extend([status(500)] * 1000)
    outlet = Outlet([(hook(server), SinkTerms(max_age_s=0.3))], lambda *event: None, SystemClock())
    outlet.emit(prediction(1))
    wait_for(lambda: outlet.counts()["out"].dropped == 1)
    outlet.close()
    assert outlet.counts()["out"] == SinkCounts(1, 0, 1, 0, 0)
