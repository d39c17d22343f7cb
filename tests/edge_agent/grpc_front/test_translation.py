"""Translation both ways, by property: whatever a client may write, and whatever the API may answer."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.grpc_front.infer_answer import InferAnswers
from edge_agent.grpc_front.infer_request import InferRequests
from edge_agent.grpc_front.messages import BadMessage, Messages
from edge_agent.grpc_front.refusal import Refusal, refusal_of
from edge_agent.grpc_front.wire import parts_of, varint

MESSAGES = Messages()
MAX_BODY_BYTES = 1 << 20
REQUESTS, ANSWERS = InferRequests(MESSAGES, MAX_BODY_BYTES), InferAnswers(MESSAGES)
"""Shared by all examples, so that what was remembered of one meets the next."""
names = st.text("ab/ö %", min_size=1, max_size=4)
shapes = st.lists(st.integers(-1, 5), max_size=3)
parameters = st.dictionaries(
    names,
    st.one_of(
        st.booleans().map(lambda v: ("bool_param", v)),
        st.integers(-(1 << 63), (1 << 63) - 1).map(lambda v: ("int64_param", v)),
        names.map(lambda v: ("string_param", v)),
        st.floats(allow_nan=False).map(lambda v: ("double_param", v)),
        st.integers(0, (1 << 64) - 1).map(lambda v: ("uint64_param", v)),
    ),
    max_size=2,
)


@st.composite
def requests(draw: st.DrawFn) -> Any:
    """A request whose tensors are raw, some of them in shared memory."""
    request = MESSAGES.of("ModelInferRequest")(
        model_name=draw(names), model_version=draw(st.sampled_from(["", "1", "a/b"])), id=draw(st.sampled_from(["", "1", "two", "ö"]))
    )
    fill(request.parameters, draw(parameters))
    for _ in range(draw(st.integers(0, 3))):
        tensor = request.inputs.add(name=draw(names), datatype=draw(st.sampled_from(["FP32", "INT8", "BYTES"])), shape=draw(shapes))
        fill(tensor.parameters, draw(parameters))
        if draw(st.booleans()):
            request.raw_input_contents.append(draw(st.binary(max_size=9)))
        else:
            tensor.parameters["shared_memory_region"].string_param = "r"
    for name in draw(st.lists(names, max_size=2)):
        fill(request.outputs.add(name=name).parameters, draw(parameters))
    return request


def fill(target: Any, given: dict[str, tuple[str, Any]]) -> None:
    for name, (kind, value) in given.items():
        setattr(target[name], kind, value)


def plain(source: Any) -> dict[str, Any]:
    return {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in source.items()}


def taken_apart(pieces: list[Any]) -> tuple[str, dict[str, Any], bytes]:
    """Request line, JSON and tensors of an HTTP request."""
    head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = {name: value for name, _, value in (line.partition(": ") for line in lines)}
    length = int(fields["Inference-Header-Content-Length"])
    assert int(fields["Content-Length"]) == len(body)
    return first, json.loads(body[:length]), body[length:]


@given(requests())
def test_a_request_says_the_same_in_http(request: Any) -> None:
    data = request.SerializeToString()
    for _ in range(2):
        made = REQUESTS.translate(data)
        first, tree, tensors = taken_apart(made.pieces)
        assert made.identity.decode() == request.id
        assert first.startswith("POST /v2/models/") and first.endswith("/infer HTTP/1.1") and len(first.split(" ")) == 3
        assert tensors == b"".join(request.raw_input_contents)
        assert tree["parameters"] == {**plain(request.parameters), "binary_data_output": True}
        sizes = iter(map(len, request.raw_input_contents))
        for one, tensor in zip(tree["inputs"], request.inputs, strict=True):
            assert (one["name"], one["datatype"], one["shape"]) == (tensor.name, tensor.datatype, list(tensor.shape))
            own = {} if "shared_memory_region" in tensor.parameters else {"binary_data_size": next(sizes)}
            assert one["parameters"] == {**plain(tensor.parameters), **own}
        wanted = [{"name": o.name, "parameters": {**plain(o.parameters), "binary_data": True}} for o in request.outputs]
        assert tree.get("outputs", []) == wanted


@given(requests(), st.randoms(use_true_random=False), st.binary(max_size=4))
def test_bytes_taken_apart_are_what_protobuf_reads(request: Any, random: Any, noise: bytes) -> None:
    data = bytearray(request.SerializeToString(deterministic=True))
    for byte in noise:
        data.insert(random.randrange(len(data) + 1), byte)
    parts = parts_of(bytes(data))
    try:
        read = MESSAGES.read("ModelInferRequest", bytes(data))
    except BadMessage:
        return  # what protobuf refuses must not have been remembered, which the next test sees to
    if parts is None:
        return
    assert parts.identity.decode() == read.id
    assert [bytes(tensor) for tensor in parts.tensors] == list(read.raw_input_contents)
    read.ClearField("id")
    read.ClearField("raw_input_contents")
    assert MESSAGES.read("ModelInferRequest", parts.key) == read


@given(st.binary(max_size=60))
def test_whatever_comes_is_a_request_or_a_refusal(data: bytes) -> None:
    for _ in range(2):
        try:
            first, _, _ = taken_apart(REQUESTS.translate(data).pieces)
            assert first.startswith("POST /v2/models/")
        except Refusal as refusal:
            assert refusal.code == "INVALID_ARGUMENT"


def test_the_usual_request_is_taken_apart_without_protobuf() -> None:
    request = MESSAGES.of("ModelInferRequest")(model_name="m", id="7", raw_input_contents=[b"abcd" * 100])
    request.inputs.add(name="x", datatype="FP32", shape=[1, 100])
    parts = parts_of(request.SerializeToString())
    assert parts is not None and parts.identity == b"7" and parts.tensors[0] == b"abcd" * 100
    request.id = "another"
    again = parts_of(request.SerializeToString())
    assert again is not None and again.key == parts.key


sizes = st.lists(st.integers(0, 40), max_size=3)


@given(
    sizes,
    st.sampled_from([b"", b"7", "ö".encode()]),
    st.dictionaries(names, st.one_of(st.booleans(), st.integers(-9, 9), names, st.floats(0, 1)), max_size=2),
)
def test_an_answer_says_the_same_in_protobuf(lengths: list[int], identity: bytes, more: dict[str, Any]) -> None:
    tensors = [bytes([n]) * length for n, length in enumerate(lengths)]
    outputs = [
        {"name": f"o{n}", "datatype": "INT8", "shape": [1, length], "parameters": {"binary_data_size": length}}
        for n, length in enumerate(lengths)
    ]
    outputs.append(
        {"name": "far", "datatype": "FP32", "shape": [2], "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 8}}
    )
    text = json.dumps({"model_name": "m", "model_version": "1", "parameters": more, "outputs": outputs}).encode()
    for _ in range(2):
        answer = MESSAGES.read("ModelInferResponse", ANSWERS.translate(text + b"".join(tensors), len(text), identity))
        assert (answer.model_name, answer.model_version, answer.id) == ("m", "1", identity.decode())
        assert list(answer.raw_output_contents) == [*tensors, b""]
        assert [(o.name, o.datatype, list(o.shape)) for o in answer.outputs] == [(o["name"], o["datatype"], o["shape"]) for o in outputs]
        assert plain(answer.parameters) == more
        assert "binary_data_size" not in answer.outputs[0].parameters


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"model_name":1,"outputs":[]}',
        b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[1]}]}',
    ],
)
def test_answers_that_make_no_sense_are_refused(text: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        ANSWERS.translate(text, -1, b"")
    assert refused.value.code == "INTERNAL"


def test_an_answer_that_is_cut_short_is_refused() -> None:
    text = json.dumps(
        {"model_name": "m", "outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}}]}
    ).encode()
    for tail in (b"123", b"12345"):
        with pytest.raises(Refusal, match="its JSON accounts for"):
            ANSWERS.translate(text + tail, len(text), b"")


@given(st.integers(0, 1 << 62))
def test_varints(value: int) -> None:
    read, shift = 0, 0
    for byte in varint(value):
        read |= (byte & 0x7F) << shift
        shift += 7
    assert read == value and varint(value)[-1] < 0x80


def test_nan_and_infinity_survive() -> None:
    request = MESSAGES.of("ModelInferRequest")(model_name="m")
    request.inputs.add(name="x", datatype="FP32", shape=[3]).contents.fp32_contents.extend([float("nan"), float("-inf"), 1.5])
    _, _, tensors = taken_apart(REQUESTS.translate(request.SerializeToString()).pieces)
    assert struct.unpack("<3f", tensors)[1:] == (float("-inf"), 1.5) and tensors[:4] == struct.pack("<f", float("nan"))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (404, "NOT_FOUND"),
        (422, "INVALID_ARGUMENT"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (501, "UNIMPLEMENTED"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
        (999, "UNKNOWN"),
    ],
)
def test_statuses(status: int, code: str) -> None:
    assert refusal_of(status, "why").code == code
    late = refusal_of(status, "why" * 1000, "2")
    assert late.text.endswith("; retry after 2 s") and late.retry_s == 2 and len(late.text) <= 1000
