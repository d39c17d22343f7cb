"""HTTP/1.1 as clients really speak it, and as they should not."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Callable

import pytest
from front_rig import Client, FrontRig, infer_json, request
from waiting import wait_for

from benchmarks.tiny_model import TinyBundle

INFER = "/v2/models/tiny/infer"
GOOD = [10.0, 0.0, 0.0]


def scores(answer: object) -> list[float]:
    data: list[float] = answer.json["outputs"][0]["data"]  # type: ignore[attr-defined]
    return data


def test_many_requests_on_one_connection(standing: FrontRig) -> None:
    with standing.connect() as client:
        for _ in range(5):
            assert scores(client.ask("POST", INFER, infer_json([1, 2, 3, 4]))) == GOOD
        assert client.ask("GET", "/v2/health/live").status == 200


def test_requests_sent_ahead_are_answered_in_order(standing: FrontRig) -> None:
    with standing.connect() as client:
        ahead = [request("POST", INFER, {"id": str(n), **infer_json([n, 0, 0, 0])}) for n in range(20)]
        client.send(b"".join(ahead[:10]) + request("GET", "/v2/health/live") + b"".join(ahead[10:]))
        ids = [client.answer().json.get("id") for _ in range(21)]
        assert ids == [str(n) for n in range(10)] + [None] + [str(n) for n in range(10, 20)]


def test_a_request_may_come_byte_by_byte(standing: FrontRig) -> None:
    with standing.connect() as client:
        for byte in request("POST", INFER, infer_json([1, 2, 3, 4])):
            client.send(bytes([byte]))
        assert scores(client.answer()) == GOOD


def test_chunked_bodies(standing: FrontRig) -> None:
    body = json.dumps(infer_json([1, 2, 3, 4])).encode()
    chunks = b"".join(b"%x;note=1\r\n%s\r\n" % (len(part), part) for part in (body[:5], body[5:])) + b"0\r\nTrailer: x\r\n\r\n"
    with standing.connect() as client:
        client.send(b"POST %s HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" % INFER.encode() + chunks)
        assert scores(client.answer()) == GOOD
        assert client.ask("GET", "/v2").status == 200


def test_a_client_that_asks_whether_to_go_on_is_told_so(standing: FrontRig) -> None:
    body = json.dumps(infer_json([1, 2, 3, 4])).encode()
    with standing.connect() as client:
        client.send(b"POST %s HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (INFER.encode(), len(body)))
        assert client.answer().status == 100
        client.send(body)
        assert scores(client.answer()) == GOOD


@pytest.mark.parametrize(
    ("coding", "compress"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", lambda data: zlib.compress(data)[2:-4])],
    ids=["gzip", "deflate", "raw deflate"],
)
def test_compressed_bodies(standing: FrontRig, coding: str, compress: Callable[[bytes], bytes]) -> None:
    body = compress(json.dumps(infer_json([1, 2, 3, 4])).encode())
    assert scores(standing.ask("POST", INFER, body, {"Content-Encoding": coding})) == GOOD


def test_what_follows_a_compressed_body_is_not_passed_over(standing: FrontRig) -> None:
    body = gzip.compress(json.dumps(infer_json([1, 2, 3, 4])).encode())
    for more in (b"junk", body):
        answer = standing.ask("POST", INFER, body + more, {"Content-Encoding": "gzip"})
        assert answer.status == 400 and "follows" in answer.json["error"]


def test_a_compressed_body_cannot_grow_beyond_the_limit(make_rig: Callable[..., FrontRig]) -> None:
    rig = make_rig(max_body_bytes=100_000)
    answer = rig.ask("POST", INFER, gzip.compress(bytes(1 << 20)), {"Content-Encoding": "gzip"})
    assert answer.status == 413 and "error" in answer.json


def test_head_answers_without_a_body(standing: FrontRig) -> None:
    with standing.connect() as client:
        full = client.ask("GET", "/v2")
        short = client.ask("HEAD", "/v2")
        assert (short.status, short.headers["content-length"]) == (200, full.headers["content-length"])
        assert client.ask("GET", "/v2").json == full.json


def test_http_1_0_closes_unless_asked_to_stay(standing: FrontRig) -> None:
    with standing.connect() as client:
        client.send(b"GET /v2/health/live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert client.answer().headers["connection"] == "keep-alive"
        client.send(b"GET /v2/health/live HTTP/1.0\r\n\r\n")
        assert client.answer().headers["connection"] == "close"
        assert client.ended()


def test_a_client_may_close_its_sending_side_and_still_be_answered(standing: FrontRig) -> None:
    with standing.connect() as client:
        client.send(request("POST", INFER, infer_json([1, 2, 3, 4])))
        client.sock.shutdown(socket.SHUT_WR)
        assert scores(client.answer()) == GOOD
        assert client.ended()


def test_names_may_be_percent_encoded_and_queries_are_passed_over(standing: FrontRig) -> None:
    assert standing.ask("GET", "/v2/models/%74iny?x=1").json["name"] == "tiny"
    assert standing.ask("GET", "http://host/v2/models/tiny").json["name"] == "tiny"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /v2\r\n\r\n", 400),
        (b"GET v2 HTTP/1.1\r\n\r\n", 400),
        (b"GET /v2 HTTP/2.0\r\n\r\n", 505),
        (b"GET /%ff HTTP/1.1\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nName : space\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nA: 1\r\n folded\r\n\r\n", 400),
        (b"POST /v2 HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /v2 HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /v2 HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /v2 HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST /v2 HTTP/1.1\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\n", 415),
        (b"POST /v2 HTTP/1.1\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n", 417),
        (b"POST /v2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /v2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 400),
        (b"POST /v2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", 413),
        (b"POST /v2 HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /v2 HTTP/1.1\r\nA: " + b"a" * 20000, 431),
    ],
)
def test_what_cannot_be_understood_is_answered_and_the_connection_closed(standing: FrontRig, sent: bytes, status: int) -> None:
    with standing.connect() as client:
        client.send(sent)
        answer = client.answer()
        assert answer.status == status
        assert answer.json["error"]
        assert answer.headers["connection"] == "close"
        assert client.ended()
    assert scores(standing.infer([1, 2, 3, 4])) == GOOD


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v2/models/other", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/v2/models/tiny/versions/9.9", 404),
        ("GET", INFER, 405),
        ("DELETE", "/v2/models/tiny", 405),
        ("POST", "/v2/models/tiny/nonsense", 404),
        ("POST", INFER, 400),
    ],
)
def test_errors_are_json_and_keep_the_connection(standing: FrontRig, method: str, path: str, status: int) -> None:
    with standing.connect() as client:
        answer = client.ask(method, path)
        assert answer.status == status
        assert answer.json["error"]
        assert client.ask("GET", "/v2/health/live").status == 200


def test_a_token_is_needed_where_one_is_demanded(make_rig: Callable[..., FrontRig]) -> None:
    rig = make_rig(token="s3cret", tcp_token=True)
    for sent, status in (({}, 401), ({"Authorization": "Bearer wrong"}, 401), ({"Authorization": "Bearer s3cret"}, 200)):
        with Client(("127.0.0.1", rig.port)) as client:
            answer = client.ask("GET", "/v2", b"", sent)
            assert answer.status == status
            assert status == 200 or answer.json["error"]
    assert rig.ask("GET", "/v2").status == 200


def test_a_listener_that_demands_a_token_lets_nobody_in_without_one_set(make_rig: Callable[..., FrontRig]) -> None:
    rig = make_rig(tcp_token=True)
    for bearer in ("", "-", "x"):
        with Client(("127.0.0.1", rig.port)) as client:
            assert client.ask("GET", "/v2", b"", {"Authorization": f"Bearer {bearer}"}).status == 401


def test_large_bodies_and_large_answers(make_rig: Callable[..., FrontRig], wide: object) -> None:
    rig = make_rig()
    rig.serve(wide)  # type: ignore[arg-type]
    values = [float(n) for n in range(100_000)]
    answer = rig.infer(values, "wide", "a")
    assert answer.status == 200
    assert answer.json["outputs"][0]["data"] == values


def test_more_clients_than_fit_are_turned_away_politely(served: FrontRig) -> None:
    clients = []
    for _ in range(256):
        clients.append(served.connect())
        assert clients[-1].ask("GET", "/v2/health/live").status == 200
    with served.connect() as late:
        late.send(request("POST", INFER, infer_json([1, 2, 3, 4])))
        answer = late.answer()
        assert answer.status == 503 and answer.json["error"]
    for client in clients:
        client.sock.close()


@pytest.mark.parametrize("framing", [b"Content-Length: 100000", b"Transfer-Encoding: chunked"], ids=["length", "chunks"])
def test_many_large_bodies_at_once_find_no_room_and_leave_none_taken(
    make_rig: Callable[..., FrontRig], bundle: TinyBundle, framing: bytes
) -> None:
    rig = make_rig(max_body_bytes=100_000)
    rig.serve(bundle)
    part = b"x" * 90_000 if b"Length" in framing else b"15f90\r\n" + b"x" * 90_000 + b"\r\n"
    for _ in range(3):
        clients = [rig.connect() for _ in range(6)]  # more than there is room for: whichever come first have it
        for client in clients:
            client.send(b"POST /v2/models/tiny/infer HTTP/1.1\r\n" + framing + b"\r\n\r\n" + part)
        wait_for(lambda: _refused(rig, framing, part), what="the room to be taken")
        assert rig.infer([1, 2, 3, 4]).status == 200  # small bodies are always taken
        for client in clients:
            client.sock.close()
    wait_for(lambda: rig.ask("POST", "/v2/models/tiny/infer", b" " * 100_000).status == 400, what="room again")


def _refused(rig: FrontRig, framing: bytes, part: bytes) -> bool:
    with rig.connect() as late:
        late.sock.settimeout(0.3)
        late.send(b"POST /v2/models/tiny/infer HTTP/1.1\r\n" + framing + b"\r\n\r\n" + part)
        try:
            return late.answer().status == 503
        except TimeoutError:
            return False


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "127.0.0.1:8500", "Origin": "http://127.0.0.1:8500"}, 200),
        ({"Host": "localhost:8500", "Origin": "http://localhost:8500"}, 200),
        ({"Host": "127.0.0.1:8500", "Origin": "http://evil.example"}, 403),
        ({"Host": "127.0.0.1:8500", "Origin": "null"}, 403),
        ({"Host": "evil.example:8500", "Origin": "http://evil.example:8500"}, 403),
        ({"Host": "127.0.0.1.evil.example", "Origin": "http://127.0.0.1.evil.example"}, 403),
    ],
)
def test_web_pages_of_other_addresses_may_not_ask(served: FrontRig, headers: dict[str, str], status: int) -> None:
    for path in ("/v2/models/tiny/infer", "/predict"):
        body = b"[1, 2, 3, 4]" if path == "/predict" else b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}'
        answer = served.ask("POST", path, body, headers)
        assert answer.status == status
        assert status == 200 or "web pages" in answer.json["error"]
