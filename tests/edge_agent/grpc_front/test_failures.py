"""An API that is away, workers that die or take too long, clients that leave, tokens."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from front_rig import FrontRig
from grpc_rig import SERVICE, GrpcRig, refusal
from waiting import wait_for

from benchmarks.tiny_model import TinyBundle
from edge_agent.clock import SystemClock
from edge_agent.serving.grpc_process import GrpcProcess
from edge_agent.values import TensorSpec

TOKEN = "0123456789abcdef"


class Gated:
    """A runtime that answers only while ``gate`` is a file; the tests say when."""

    name, version = "gated", "1"
    inputs = (TensorSpec("x", "float32", (1, 4)),)
    outputs = (TensorSpec("y", "float32", (1, 3)),)

    def __init__(self, gate: Path) -> None:
        self._gate = gate

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        while not self._gate.exists():
            threading.Event().wait(0.002)
        return {"y": np.full((1, 3), arrays["x"].sum(), np.float32)}

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        return None

    def close(self) -> None:
        pass


class Scripted:
    """An HTTP API that takes one request for each of ``answers`` and says that, or nothing and closes."""

    def __init__(self, path: Path, answers: list[bytes]) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(8)
        self._answers = answers
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while self._answers:
            conn, _ = self._listener.accept()
            self.connections += 1
            with conn:
                while self._answers and conn.recv(65536):
                    answer = self._answers.pop(0)
                    conn.sendall(answer)
                    if not answer:
                        break

    def close(self) -> None:
        self._listener.close()


@contextmanager
def before(path: Path) -> Iterator[grpc.Channel]:
    """A gRPC process that asks whoever is at ``path``, or nobody."""
    process = GrpcProcess(path, "127.0.0.1:0", None, lambda event: None, SystemClock())
    process.start()
    try:
        with grpc.insecure_channel(process.url) as channel:
            yield channel
    finally:
        process.stop()


def test_an_api_that_is_away(tmp_path: Path) -> None:
    with before(tmp_path / "api.sock") as channel:
        for method in ("ServerLive", "ServerReady"):
            assert channel.unary_unary(f"/{SERVICE}/{method}")(b"", timeout=10) == b""  # that is: false
        code, text = refusal(lambda: channel.unary_unary(f"/{SERVICE}/ServerMetadata")(b"", timeout=10))
        assert code == "UNAVAILABLE" and "the API cannot be reached" in text
        Scripted(tmp_path / "api.sock", [b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"name":"x"}'])
        assert b"x" in channel.unary_unary(f"/{SERVICE}/ServerMetadata")(b"", timeout=10)


OK = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"name":"x"}'


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", "UNAVAILABLE"),
        (b"SMTP ready\r\n\r\n", "UNAVAILABLE"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "UNAVAILABLE"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}and more", "UNAVAILABLE"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes", "INTERNAL"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n" + b'{"name": ["no"]}\n', "INTERNAL"),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n{}", "INTERNAL"),
        (b"HTTP/1.1 418 Oh\r\nContent-Length: 2\r\n\r\n{}", "UNKNOWN"),
    ],
)
def test_answers_of_an_api_that_make_no_sense(tmp_path: Path, answer: bytes, code: str) -> None:
    api = Scripted(tmp_path / "api.sock", [answer, OK])
    with before(tmp_path / "api.sock") as channel:
        method = channel.unary_unary(f"/{SERVICE}/ServerMetadata")
        assert refusal(lambda: method(b"", timeout=10))[0] == code
        assert method(b"", timeout=10)  # the next call is answered
    api.close()


def test_connections_are_used_again(tmp_path: Path) -> None:
    closing = OK.replace(b"Content", b"Connection: close\r\nContent")
    api = Scripted(tmp_path / "api.sock", [OK, OK, OK, closing, OK])
    with before(tmp_path / "api.sock") as channel:
        for _ in range(4):
            assert channel.unary_unary(f"/{SERVICE}/ServerMetadata")(b"", timeout=10)
        assert api.connections == 1
    api.close()


def test_a_worker_dies_under_a_call(front: FrontRig, bundle: TinyBundle, make_rig: Callable[..., GrpcRig], tmp_path: Path) -> None:
    first = front.serve(bundle, Gated(tmp_path / "never"))
    spare = front.worker(bundle)
    rig = make_rig(front)
    with ThreadPoolExecutor(1) as apart:
        asked = apart.submit(rig.infer, rig.request(id="kept"))
        wait_for(lambda: front.heard("status", busy=True), what="the request to reach the worker")
        front.lose(first)
        front.link(spare)
        answer = asked.result(15)
    assert answer.id == "kept" and np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [10, 0, 0]


def test_a_model_that_takes_too_long(
    make_front: Callable[..., FrontRig], bundle: TinyBundle, make_rig: Callable[..., GrpcRig], tmp_path: Path
) -> None:
    front = make_front(deadline_ms=300)
    front.serve(bundle, Gated(tmp_path / "never"))
    rig = make_rig(front)
    assert refusal(lambda: rig.infer(rig.request()))[0] == "DEADLINE_EXCEEDED"


def test_more_requests_than_may_wait(
    make_front: Callable[..., FrontRig], bundle: TinyBundle, make_rig: Callable[..., GrpcRig], tmp_path: Path
) -> None:
    front = make_front(queue=2, deadline_ms=20_000)
    gate = tmp_path / "gate"
    front.serve(bundle, Gated(gate), slots=1)
    rig = make_rig(front)
    data = rig.request().SerializeToString()
    calls = [rig.method("ModelInfer").future(data, timeout=20) for _ in range(12)]
    refused = wait_for(lambda: [c for c in calls if c.done()], what="one to be turned away")[0]
    assert refused.code().name == "RESOURCE_EXHAUSTED" and "; retry after " in refused.details()
    pushed_back = dict(refused.trailing_metadata())["grpc-retry-pushback-ms"]
    assert int(pushed_back) >= 1000
    gate.touch()
    codes = [call.code().name for call in calls]
    assert set(codes) == {"OK", "RESOURCE_EXHAUSTED"} and codes.count("OK") >= 3


@pytest.mark.parametrize("leave", ["cancel", "deadline"])
def test_a_client_that_leaves_lets_go_of_the_api(
    make_front: Callable[..., FrontRig], bundle: TinyBundle, make_rig: Callable[..., GrpcRig], tmp_path: Path, leave: str
) -> None:
    front, gate = make_front(deadline_ms=60_000), tmp_path / "gate"
    front.serve(bundle, Gated(gate))
    rig = make_rig(front)
    assert rig.call("ServerLive").live  # one connection is open
    call = rig.method("ModelInfer").future(rig.request().SerializeToString(), timeout=15 if leave == "cancel" else 1.2)
    wait_for(lambda: front.heard("status", busy=True, connections=1), what="the request to be under way")
    if leave == "cancel":
        call.cancel()
    seen = len(front.messages)
    wait_for(lambda: front.heard("status", connections=0) and front.messages[seen:], what="the connection to be closed")
    assert call.code().name == ("CANCELLED" if leave == "cancel" else "DEADLINE_EXCEEDED")
    gate.touch()
    assert rig.infer(rig.request()).outputs[0].name == "y"


def test_a_token_over_tcp(front: FrontRig, bundle: TinyBundle, make_rig: Callable[..., GrpcRig], tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    front.serve(bundle)
    rig = make_rig(front, token_file=token)
    for said in (None, f"Bearer {TOKEN}x", "Bearer ", f"Basic {TOKEN}", TOKEN):
        metadata = [("authorization", said)] if said is not None else None
        code, text = refusal(lambda metadata=metadata: rig.call("ServerLive", metadata=metadata))
        assert code == "UNAUTHENTICATED" and "Bearer" in text
    assert rig.call("ServerLive", metadata=[("authorization", f"Bearer {TOKEN}")]).live
    method = rig.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
    assert refusal(lambda: next(method(iter([b""]), timeout=10)))[0] == "UNAUTHENTICATED"


def test_a_unix_socket_is_guarded_by_its_mode(
    front: FrontRig, bundle: TinyBundle, make_rig: Callable[..., GrpcRig], tmp_path: Path
) -> None:
    token, where = tmp_path / "token", tmp_path / "grpc.sock"
    token.write_text(TOKEN)
    token.chmod(0o600)
    front.serve(bundle)
    assert make_rig(front, listen="unix").process.url == f"unix:{Path(front.path).with_name('api-grpc.sock')}"
    rig = make_rig(front, listen=f"unix:{where}", token_file=token)
    assert where.stat().st_mode & 0o777 == 0o660
    assert rig.infer(rig.request()).model_name == "tiny"
