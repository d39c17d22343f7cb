"""Tensors in and out: every datatype, JSON and binary, and each mistake by name."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from echo_model import echo_bundle
from front_rig import Answer, FrontRig, infer_json

from edge_agent.front.datatypes import V2_OF
from edge_agent.front.v2_tensors import MOST_JSON_VALUES

INFER = "/v2/models/echo/infer"
VALUES: dict[str, list[Any]] = {
    "bool": [True, False, True],
    "uint8": [0, 1, 255],
    "uint16": [0, 1, 65535],
    "uint32": [0, 1, 4294967295],
    "uint64": [0, 1, 18446744073709551615],
    "int8": [-128, 0, 127],
    "int16": [-32768, 0, 32767],
    "int32": [-2147483648, 0, 2147483647],
    "int64": [-9223372036854775808, 0, 9223372036854775807],
    "float16": [0.5, -2.0, 65504.0],
    "float32": [0.5, -2.0, 2.0**100],
    "float64": [0.1, -2.0, 1e300],
}


def binary(values: Any, *, identity: str = "", binary_out: bool = True, name: str = "a", **more: Any) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request in the binary extension."""
    array = np.asarray(values)
    one = {"name": name, "shape": list(array.shape), "datatype": V2_OF[array.dtype.name], "parameters": {"binary_data_size": array.nbytes}}
    tree = {**({"id": identity} if identity else {}), "inputs": [one], "parameters": {"binary_data_output": binary_out}, **more}
    text = json.dumps(tree, separators=(",", ":")).encode()
    return text + array.tobytes(), {"Inference-Header-Content-Length": str(len(text))}


def parts(answer: Answer) -> tuple[dict[str, Any], bytes]:
    """JSON and tensors of a binary answer."""
    length = int(answer.headers["inference-header-content-length"])
    assert answer.headers["content-type"] == "application/octet-stream"
    return json.loads(answer.body[:length]), answer.body[length:]


@pytest.fixture
def echo(rig: FrontRig, tmp_path: Path) -> Callable[..., FrontRig]:
    """Serves an echo model of the given shapes."""

    def serve(*shapes: Any, **how: Any) -> FrontRig:
        rig.serve(echo_bundle(tmp_path / "echo", "echo", *shapes, **how))
        return rig

    return serve


@pytest.mark.parametrize("dtype", VALUES)
def test_every_datatype_in_json_and_in_binary(echo: Callable[..., FrontRig], dtype: str) -> None:
    rig, values = echo([3], dtype=dtype), VALUES[dtype]
    asked = {"inputs": [{"name": "a", "shape": [3], "datatype": V2_OF[dtype], "data": values}]}
    answer = rig.ask("POST", INFER, asked)
    assert answer.status == 200, answer.body
    assert answer.json["outputs"] == [{"name": "out_a", "datatype": V2_OF[dtype], "shape": [3], "data": values}]
    raw = np.array(values, dtype)
    body, headers = binary(raw)
    tree, data = parts(rig.ask("POST", INFER, body, headers))
    assert data == raw.tobytes()
    expected = {"name": "out_a", "datatype": V2_OF[dtype], "shape": [3], "parameters": {"binary_data_size": raw.nbytes}}
    assert tree["outputs"] == [expected]


def test_a_repeated_request_means_the_same_and_only_its_id_and_tensors_differ(echo: Callable[..., FrontRig]) -> None:
    rig = echo([2, 2])
    with rig.connect() as client:
        for number in range(6):
            values = np.full((2, 2), number, np.float32)
            identity = "" if number % 3 == 0 else f"id-{number}"
            body, headers = binary(values, identity=identity)
            tree, data = parts(client.ask("POST", INFER, body, headers))
            assert data == values.tobytes()
            assert tree.get("id", "") == identity
        body, headers = binary(np.zeros((2, 2), np.float32))
        short = client.ask("POST", INFER, body[:-1], headers)
        assert short.status == 400 and "15 bytes" in short.json["error"]


def test_an_id_that_does_not_come_first_comes_back_each_time(echo: Callable[..., FrontRig]) -> None:
    rig = echo([1])
    for identity in ("a", "a", "b"):
        array = np.ones(1, np.float32)
        text = json.dumps(
            {
                "inputs": [{"name": "a", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}],
                "id": identity,
                "parameters": {"binary_data_output": True},
            }
        ).encode()
        answer = rig.ask("POST", INFER, text + array.tobytes(), {"Inference-Header-Content-Length": str(len(text))})
        assert parts(answer)[0]["id"] == identity


def test_nan_and_infinity_pass_both_ways(echo: Callable[..., FrontRig]) -> None:
    rig = echo([3])
    text = b'{"inputs":[{"name":"a","shape":[3],"datatype":"FP32","data":[NaN,Infinity,-Infinity]}]}'
    data = rig.ask("POST", INFER, text).json["outputs"][0]["data"]
    assert math.isnan(data[0]) and data[1:] == [math.inf, -math.inf]


def test_nested_data_and_several_inputs_in_any_order(echo: Callable[..., FrontRig]) -> None:
    rig = echo([2, 2], [1])
    two = {"name": "b", "shape": [1], "datatype": "FP32", "data": [9]}
    one = {"name": "a", "shape": [2, 2], "datatype": "FP32", "data": [[1, 2], [3, 4]]}
    outputs = rig.ask("POST", INFER, {"inputs": [two, one]}).json["outputs"]
    assert [(o["name"], o["data"]) for o in outputs] == [("out_a", [1, 2, 3, 4]), ("out_b", [9])]


def test_outputs_may_be_chosen_and_each_in_its_own_form(echo: Callable[..., FrontRig]) -> None:
    rig = echo([2], [2])
    array = np.array([1, 2], np.float32)
    inputs = [
        {"name": "a", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
        {"name": "b", "shape": [2], "datatype": "FP32", "data": [3, 4]},
    ]
    for outputs, expected, tail in (
        ([{"name": "out_b"}], [("out_b", [3, 4])], b""),
        ([{"name": "out_b", "parameters": {"binary_data": True}}], [("out_b", None)], np.array([3, 4], np.float32).tobytes()),
        (
            [{"name": "out_b"}, {"name": "out_a", "parameters": {"binary_data": True}}],
            [("out_b", [3, 4]), ("out_a", None)],
            array.tobytes(),
        ),
    ):
        text = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
        answer = rig.ask("POST", INFER, text + array.tobytes(), {"Inference-Header-Content-Length": str(len(text))})
        tree, data = parts(answer) if tail else (answer.json, b"")
        assert [(o["name"], o.get("data")) for o in tree["outputs"]] == expected
        assert data == tail


def test_free_dimensions(echo: Callable[..., FrontRig]) -> None:
    rig = echo([1, "n"])
    assert rig.ask("GET", "/v2/models/echo").json["inputs"][0]["shape"] == [1, -1]
    for length in (1, 5, 3000, 0):
        values = np.arange(length, dtype=np.float32).reshape(1, length)
        body, headers = binary(values)
        tree, data = parts(rig.ask("POST", INFER, body, headers))
        assert (tree["outputs"][0]["shape"], data) == ([1, length], values.tobytes())
    values = np.arange(7, dtype=np.float32)
    tree, data = parts(rig.ask("POST", INFER, values.tobytes(), {"Inference-Header-Content-Length": "0"}))
    assert (tree["outputs"][0]["shape"], data) == ([1, 7], values.tobytes())
    too_many = np.zeros((1, (1 << 20) // 4 + 1), np.float32)
    body, headers = binary(too_many)
    refused = rig.ask("POST", INFER, body, headers)
    assert refused.status == 400 and "at most 1048576" in refused.json["error"]


def test_a_body_of_one_tensor_alone(standing: FrontRig) -> None:
    raw = np.array([1, 2, 3, 4], np.float32).tobytes()
    tree, data = parts(standing.ask("POST", "/v2/models/tiny/infer", raw, {"Inference-Header-Content-Length": "0"}))
    assert tree["outputs"][0]["name"] == "y"
    assert np.frombuffer(data, np.float32).tolist() == [10, 0, 0]
    assert "needs 16" in standing.ask("POST", "/v2/models/tiny/infer", raw[:-1], {"Inference-Header-Content-Length": "0"}).json["error"]


def changed(**fields: Any) -> dict[str, Any]:
    """A good request for the tiny model with one field of its input changed; ``None`` takes it out."""
    tree = infer_json([1, 2, 3, 4])
    one = {**tree["inputs"][0], **fields}
    return {"inputs": [{key: value for key, value in one.items() if value is not None}]}


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (changed(name="nope"), ["nope", "x"]),
        (changed(name=7), ["7"]),
        (changed(datatype="BYTES", data=["a"]), ["BYTES", "FP32"]),
        (changed(datatype="FP64"), ["FP64", "FP32"]),
        (changed(datatype=None), ["FP32"]),
        (changed(shape=[4]), ["[4]", "[1, 4]"]),
        (changed(shape=[1, -4]), ["shape"]),
        (changed(shape="4"), ["shape"]),
        (changed(shape=[1, 4.0]), ["shape"]),
        (changed(data=[1, 2, 3]), ["3 values", "4"]),
        (changed(data=[[1, 2], [3, 4]]), ["nested"]),
        (changed(data=[[1, 2], [3]]), ["nested"]),
        (changed(data=["1", "2", "3", "4"]), ["text"]),
        (changed(data=[1, 2, 3, None]), ["FP32"]),
        (changed(data=[1, 2, 3, {}]), ["FP32"]),
        (changed(data=[True, True, True, True]), ["truth"]),
        (changed(data=None), ["neither"]),
        (changed(parameters={"binary_data_size": 16}), ["both"]),
        (changed(data=None, parameters={"binary_data_size": 16}), ["16", "0 bytes"]),
        (changed(data=None, parameters={"binary_data_size": "16"}), ["whole number"]),
        (changed(data=None, parameters={"shared_memory_region": "none", "shared_memory_byte_size": 16}), ["none", "not registered"]),
        ({"inputs": []}, ["x", "missing"]),
        ({"inputs": infer_json([1, 2, 3, 4])["inputs"] * 2}, ["twice"]),
        ({"inputs": {}}, ["inputs"]),
        ({}, ["inputs"]),
        ({"id": 7, **infer_json([1, 2, 3, 4])}, ["id"]),
        ({**infer_json([1, 2, 3, 4]), "outputs": [{"name": "z"}]}, ["z", "y"]),
        ({**infer_json([1, 2, 3, 4]), "outputs": "y"}, ["outputs"]),
        ({**infer_json([1, 2, 3, 4]), "outputs": [{"name": "y"}, {"name": "y"}]}, ["twice"]),
        ({**infer_json([1, 2, 3, 4]), "outputs": [{"name": "y", "parameters": {"classification": 3}}]}, ["classification"]),
    ],
    ids=str,
)
def test_each_mistake_is_named(standing: FrontRig, tree: dict[str, Any], words: list[str]) -> None:
    answer = standing.ask("POST", "/v2/models/tiny/infer", tree)
    assert answer.status == 400
    for word in words:
        assert word in answer.json["error"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"7", b"\xff", b'{"inputs":' + b"[" * 100_000, b'"' + b"x" * 100], ids=lambda b: str(b[:12]))
def test_what_is_not_a_json_object_is_refused(standing: FrontRig, body: bytes) -> None:
    answer = standing.ask("POST", "/v2/models/tiny/infer", body)
    assert answer.status == 400 and answer.json["error"]


def test_a_header_that_says_more_than_there_is(standing: FrontRig) -> None:
    answer = standing.ask("POST", "/v2/models/tiny/infer", b"{}", {"Inference-Header-Content-Length": "3"})
    assert answer.status == 400 and "3" in answer.json["error"]


@pytest.mark.parametrize(
    ("dtype", "bad"), [("int8", 128), ("uint8", -1), ("int32", 1 << 31), ("int64", 1 << 63), ("uint64", 1 << 64), ("int16", 0.5)]
)
def test_numbers_outside_the_type_are_refused(echo: Callable[..., FrontRig], dtype: str, bad: float) -> None:
    rig = echo([2], dtype=dtype)
    answer = rig.ask("POST", INFER, {"inputs": [{"name": "a", "shape": [2], "datatype": V2_OF[dtype], "data": [0, bad]}]})
    assert answer.status == 400 and "a" in answer.json["error"]


def test_metadata_config_and_statistics(served: FrontRig) -> None:
    assert served.ask("GET", "/v2").json["extensions"]
    meta = served.ask("GET", "/v2/models/tiny/versions/1.0.0").json
    assert meta == {
        "name": "tiny",
        "versions": ["1.0.0"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 3]}],
    }
    config = served.ask("GET", "/v2/models/tiny/config").json
    assert (config["max_batch_size"], config["input"][0]["data_type"], config["output"][0]["dims"]) == (0, "TYPE_FP32", [1, 3])
    for count in (1, 2):
        assert served.infer([1, 2, 3, 4]).status == 200
        for path in ("/v2/models/stats", "/v2/models/tiny/stats", "/v2/models/tiny/versions/1/stats"):
            stats = served.ask("GET", path).json["model_stats"][0]
            assert stats["inference_stats"]["queue"]["count"] == stats["inference_count"] == count
            assert stats["version"].isdigit()
            assert stats["last_inference"] > 1_600_000_000_000


def test_the_index_tells_what_is_known(served: FrontRig) -> None:
    other = {"name": "other", "version": "3", "digest": "", "state": "failed", "reason": "does not load"}
    served.say({"op": "models", "models": [other, {"name": "tiny", "version": "1.0.0", "digest": "", "state": "serving", "reason": ""}]})
    entries = {entry["name"]: entry for entry in served.ask("POST", "/v2/repository/index").json}
    assert entries["tiny"] == {"name": "tiny", "version": "1.0.0", "state": "READY", "reason": ""}
    assert entries["other"] == {"name": "other", "version": "3", "state": "UNAVAILABLE", "reason": "does not load"}
    assert [e["name"] for e in served.ask("POST", "/v2/repository/index", {"ready": True}).json] == ["tiny"]
    refused = served.infer([1, 2, 3, 4], "other")
    assert refused.status == 503 and "does not load" in refused.json["error"]
    assert served.ask("GET", "/v2/health/ready").status == 503


def test_an_output_too_large_for_json_is_given_in_binary_alone(make_rig: Callable[..., FrontRig], tmp_path: Path) -> None:
    rig = make_rig(max_body_bytes=8 << 20)
    rig.serve(echo_bundle(tmp_path / "echo", "echo", [MOST_JSON_VALUES + 1], dtype="uint8"))
    body, headers = binary(np.zeros(MOST_JSON_VALUES + 1, np.uint8), binary_out=False)
    refused = rig.ask("POST", INFER, body, headers)
    assert refused.status == 400 and "binary_data" in refused.json["error"]
    body, headers = binary(np.zeros(MOST_JSON_VALUES + 1, np.uint8))
    assert len(parts(rig.ask("POST", INFER, body, headers))[1]) == MOST_JSON_VALUES + 1


def test_a_shape_larger_than_memory_can_be_is_refused(rig: FrontRig, tmp_path: Path) -> None:
    rig.wait_message("linked", link=rig.inline(echo_bundle(tmp_path / "echo", "echo", ["n", "m"])))
    for size in (1 << 63, 1 << 64, 10**30):
        one = {"name": "a", "shape": [size, 0], "datatype": "FP32", "data": []}
        answer = rig.ask("POST", INFER, {"inputs": [one]})
        assert answer.status == 400 and "larger" in answer.json["error"]
    assert rig.ask("POST", INFER, {"inputs": [{**one, "shape": [3, 0]}]}).status == 200


@pytest.mark.parametrize(
    "path", [INFER, "/v1/models/echo:predict", "/predict/echo", "/v2/repository/index", "/v2/repository/models/echo/load"]
)
def test_text_too_long_to_be_a_request_is_not_parsed(echo: Callable[..., FrontRig], path: str) -> None:
    rig = echo([1, 4])
    answer = rig.ask("POST", path, b"[" + b"[]," * 200_000 + b"0]")
    assert answer.status == 413 and "at most 262" in answer.json["error"]
    packed = rig.ask("POST", path, gzip.compress(b"[" + b"[]," * 200_000 + b"0]"), {"Content-Encoding": "gzip"})
    assert packed.status == 413
