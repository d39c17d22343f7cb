"""Streams of inferences: answers in order, and an error that ends nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from grpc_rig import SERVICE, GrpcRig, refusal


def stream(rig: GrpcRig, requests: Iterator[Any]) -> list[Any]:
    call = rig.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
    answers = call((request.SerializeToString() for request in requests), timeout=20)
    return [rig.messages.read("ModelStreamInferResponse", data) for data in answers]


def test_answers_come_in_order(rig: GrpcRig) -> None:
    answers = stream(rig, (rig.request([float(n), 0, 0, 0], id=str(n)) for n in range(50)))
    assert [a.infer_response.id for a in answers] == [str(n) for n in range(50)]
    values = [np.frombuffer(a.infer_response.raw_output_contents[0], np.float32)[0] for a in answers]
    assert values == list(range(50)) and not any(a.error_message for a in answers)
    assert all(a.infer_response.parameters["triton_final_response"].bool_param for a in answers)


def test_a_request_that_is_refused_does_not_end_the_stream(rig: GrpcRig) -> None:
    requests = [rig.request(id="a"), rig.request([1.0], id="b"), rig.request(id="c"), rig.messages.of("ModelInferRequest")(id="d")]
    answers = stream(rig, iter(requests))
    assert [bool(a.error_message) for a in answers] == [False, True, False, True]
    assert [a.infer_response.id for a in answers] == ["a", "b", "c", "d"]
    assert "has shape [1, 1], the model takes [1, 4]" in answers[1].error_message


def test_a_client_may_ask_after_it_has_heard(rig: GrpcRig) -> None:
    heard = threading.Semaphore(1)

    def requests() -> Iterator[bytes]:
        for n in range(10):
            heard.acquire()
            yield rig.request(id=str(n)).SerializeToString()

    said = []
    for data in rig.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(requests(), timeout=20):
        said.append(rig.messages.read("ModelStreamInferResponse", data).infer_response.id)
        heard.release()
    assert said == [str(n) for n in range(10)]


def test_streams_that_only_stay_open_leave_room_for_others(rig: GrpcRig) -> None:
    over, held, taken = threading.Event(), [], 0

    def silent() -> Iterator[bytes]:
        yield rig.request().SerializeToString()
        over.wait()

    method = rig.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
    try:
        for _ in range(64):
            held.append(method(silent(), timeout=60))
            taken += bool(next(held[-1]))
        assert taken == 64
        assert refusal(lambda: next(method(silent(), timeout=20))) == ("RESOURCE_EXHAUSTED", "64 streams are open already")
        assert rig.infer(rig.request()).outputs
    finally:
        over.set()
        for call in held:
            call.cancel()
