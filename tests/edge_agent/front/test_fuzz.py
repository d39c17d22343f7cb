"""Whatever bytes come, in whatever pieces: no crash, an answer or an end, and the next client is served."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from front_rig import FrontRig, infer_json, request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import wait_for

from edge_agent.front.http_body import ChunkedBody, inflated
from edge_agent.front.http_head import Head, HttpError, parse_head

GOOD = request("POST", "/v2/models/tiny/infer", infer_json([1, 2, 3, 4]))
CHUNKED = b"POST /v2/models/tiny/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n0\r\n\r\n" % (
    len(GOOD.partition(b"\r\n\r\n")[2]),
    GOOD.partition(b"\r\n\r\n")[2],
)
BINARY_JSON = b'{"id":"1","inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}]}'
BINARY = b"POST /v2/models/tiny/infer HTTP/1.1\r\nInference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BINARY_JSON),
    len(BINARY_JSON) + 16,
    BINARY_JSON + bytes(16),
)
PIECES = [
    GOOD,
    CHUNKED,
    BINARY,
    request("GET", "/v2/health/live"),
    request("GET", "/metrics"),
    request("POST", "/v1/models/tiny:predict", {"instances": [[1, 2, 3, 4]]}),
    request("POST", "/predict", b"[1,2,3,4]"),
    b"\r\n",
    b"GET / HTTP/1.1\r\nA: b\r\n",
    b"Content-Length: 99999\r\n",
    b"Transfer-Encoding: chunked\r\n",
]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory, standing: FrontRig) -> Iterator[FrontRig]:
    yield standing
    assert Path(f"/proc/{standing.pid}/fd").exists()
    assert not standing.heard("event", kind="api_error")


def spoiled(data: bytes, spots: list[tuple[int, int]]) -> bytes:
    changed = bytearray(data)
    for where, value in spots:
        if changed:
            changed[where % len(changed)] = value
    return bytes(changed)


streams = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=60)), min_size=1, max_size=5).map(b"".join)
spots = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=4)
cuts = st.lists(st.integers(0, 1 << 12), max_size=6)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stream=streams, changes=spots, where=cuts)
def test_any_bytes_in_any_pieces(fuzzed: FrontRig, stream: bytes, changes: list[tuple[int, int]], where: list[int]) -> None:
    data = spoiled(stream, changes)
    with fuzzed.connect() as client:
        at = 0
        try:
            for cut in [*sorted(min(cut, len(data)) for cut in where), len(data)]:
                client.send(data[at:cut])
                at = cut
            client.sock.shutdown(socket.SHUT_WR)
            answered = b""
            while piece := client.sock.recv(1 << 16):
                answered += piece
        except ConnectionError:
            answered = b""
    assert not answered or answered.startswith(b"HTTP/1.1 ")
    with fuzzed.connect() as client:
        client.send(GOOD)
        answer = client.answer()
    assert (answer.status, answer.json["outputs"][0]["data"]) == (200, [10.0, 0.0, 0.0])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.sampled_from(range(7)), min_size=1, max_size=8), where=cuts)
def test_well_formed_requests_in_any_pieces_are_all_answered(fuzzed: FrontRig, order: list[int], where: list[int]) -> None:
    data = b"".join(PIECES[index] for index in order)
    with fuzzed.connect() as client:
        at = 0
        for cut in [*sorted(min(cut, len(data)) for cut in where), len(data)]:
            client.send(data[at:cut])
            at = cut
        assert [client.answer().status for _ in order] == [200] * len(order)


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300), st.tuples(st.sampled_from(PIECES), spots).map(lambda p: spoiled(p[0].partition(b"\r\n\r\n")[0], p[1]))
    )
)
def test_any_head_is_understood_or_refused(raw: bytes) -> None:
    try:
        head = parse_head(raw)
    except HttpError as error:
        assert error.closes and 400 <= error.status < 600
    else:
        assert isinstance(head, Head) and head.length >= 0


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=6), st.lists(st.integers(1, 40), max_size=30))
def test_chunks_cut_anywhere_give_the_body_back(parts: list[bytes], steps: list[int]) -> None:
    wire = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n" + b"NEXT"
    body, pending, found, at = ChunkedBody(1 << 16), bytearray(), None, 0
    for step in [*steps, len(wire)]:
        pending += wire[at : at + step]
        at += step
        found = body.feed(pending) if found is None else found
    assert found == b"".join(parts)
    assert bytes(pending) == b"NEXT"


@given(st.binary(max_size=200))
def test_any_chunks_end_or_are_refused(data: bytes) -> None:
    try:
        ChunkedBody(1 << 10).feed(bytearray(data))
    except HttpError as error:
        assert error.closes


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]))
def test_any_compressed_body_is_read_or_refused(data: bytes, coding: str) -> None:
    try:
        assert len(inflated(data, coding, 1 << 10)) <= 1 << 10
    except HttpError as error:
        assert error.status in (400, 413)


def test_descriptors_do_not_leak(standing: FrontRig) -> None:
    def count() -> int:
        return len(list(Path(f"/proc/{standing.pid}/fd").iterdir()))

    before = count()
    for _ in range(50):
        with standing.connect() as client:
            client.send(GOOD[:30])
        assert standing.infer([1, 2, 3, 4]).status == 200
    wait_for(lambda: count() <= before, what=f"{before} descriptors again")
