"""Inference: tensors in and out, typed and raw, and each mistake by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from echo_model import echo_bundle
from front_rig import FrontRig
from grpc_rig import GrpcRig, refusal

FIELDS = {
    "BOOL": ("bool", "bool_contents", [True, False, True]),
    "UINT8": ("uint8", "uint_contents", [0, 1, 255]),
    "UINT16": ("uint16", "uint_contents", [0, 1, 65535]),
    "UINT32": ("uint32", "uint_contents", [0, 1, 4294967295]),
    "UINT64": ("uint64", "uint64_contents", [0, 1, 18446744073709551615]),
    "INT8": ("int8", "int_contents", [-128, 0, 127]),
    "INT16": ("int16", "int_contents", [-32768, 0, 32767]),
    "INT32": ("int32", "int_contents", [-2147483648, 0, 2147483647]),
    "INT64": ("int64", "int64_contents", [-9223372036854775808, 0, 9223372036854775807]),
    "FP16": ("float16", "", [0.5, -2.0, 65504.0]),
    "FP32": ("float32", "fp32_contents", [0.5, -2.0, float("inf")]),
    "FP64": ("float64", "fp64_contents", [0.1, -2.0, 1e300]),
}


def asked(rig: GrpcRig, model: str, **inputs: tuple[str, Any]) -> Any:
    """A request with raw tensors: datatype and array of each input."""
    request = rig.messages.of("ModelInferRequest")(model_name=model)
    for name, (datatype, array) in inputs.items():
        request.inputs.add(name=name, datatype=datatype, shape=np.shape(array))
        request.raw_input_contents.append(np.asarray(array).tobytes())
    return request


@pytest.fixture
def serve(front: FrontRig, tmp_path: Path, make_rig: Callable[..., GrpcRig]) -> Callable[..., GrpcRig]:
    """gRPC before an API that serves echo models: name to what :func:`echo_bundle` takes."""

    def begin(**models: tuple[tuple[Any, ...], str]) -> GrpcRig:
        for name, (shapes, dtype) in models.items():
            front.serve(echo_bundle(tmp_path / name, name, *shapes, dtype=dtype))
        return make_rig(front)

    return begin


def test_every_datatype_raw_and_typed(serve: Callable[..., GrpcRig]) -> None:
    rig = serve(**{name.lower(): (([3],), dtype) for name, (dtype, _, _) in FIELDS.items()})
    for name, (dtype, field, values) in FIELDS.items():
        array = np.array(values, dtype)
        for _ in range(2):  # what was learned from the first must do for the second
            answer = rig.infer(asked(rig, name.lower(), a=(name, array)))
            assert list(answer.raw_output_contents) == [array.tobytes()], name
            assert [(o.name, o.datatype, list(o.shape)) for o in answer.outputs] == [("out_a", name, [3])]
        if field:
            request = rig.messages.of("ModelInferRequest")(model_name=name.lower())
            getattr(request.inputs.add(name="a", datatype=name, shape=[3]).contents, field).extend(values)
            assert list(rig.infer(request).raw_output_contents) == [array.tobytes()], name


def test_typed_contents_that_do_not_fit(serve: Callable[..., GrpcRig]) -> None:
    rig = serve(int8=(([3],), "int8"), fp16=(([3],), "float16"))

    def typed(model: str, datatype: str, shape: list[int], **contents: list[Any]) -> tuple[str, str]:
        request = rig.messages.of("ModelInferRequest")(model_name=model)
        tensor = request.inputs.add(name="a", datatype=datatype, shape=shape)
        for field, values in contents.items():
            getattr(tensor.contents, field).extend(values)
        return refusal(lambda: rig.infer(request))

    bad = "INVALID_ARGUMENT"
    assert typed("int8", "INT8", [3], int_contents=[1, 2, 128]) == (bad, "input a: a value does not fit INT8")
    assert typed("int8", "INT8", [3], fp32_contents=[1, 2, 3]) == (bad, "input a: INT8 belongs in int_contents, fp32_contents has values")
    assert typed("int8", "INT8", [3], int_contents=[1, 2])[0] == bad
    assert typed("fp16", "FP16", [3], fp32_contents=[1, 2, 3]) == (
        bad,
        "input a: FP16 has no typed contents in this protocol, send raw_input_contents",
    )
    for datatype in ("BYTES", "BF16"):
        code, text = typed("int8", datatype, [1], bytes_contents=[b"x"])
        assert code == bad and f"{datatype} is not taken" in text
    assert "has datatype FUN, the model takes INT8" in typed("int8", "FUN", [3])[1]


def test_the_id_comes_back(rig: GrpcRig) -> None:
    for identity in ("", "7", 'with "quotes"', "naïve", "x" * 500, "7"):
        answer = rig.infer(rig.request(id=identity))
        assert (answer.id, answer.model_name, answer.model_version) == (identity, "tiny", "1.0.0")
        assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [10, 0, 0]


def test_several_inputs_and_chosen_outputs(serve: Callable[..., GrpcRig]) -> None:
    rig = serve(echo=(([2], ["n", 3]), "float32"))
    a, b = np.array([1, 2], np.float32), np.arange(6, dtype=np.float32).reshape(2, 3)
    request = asked(rig, "echo", b=("FP32", b), a=("FP32", a))
    assert [list(o.shape) for o in rig.infer(request).outputs] == [[2], [2, 3]]
    assert list(rig.infer(request).raw_output_contents) == [a.tobytes(), b.tobytes()]
    request.outputs.add(name="out_b")
    assert [o.name for o in rig.infer(request).outputs] == ["out_b"]
    request.outputs.add(name="out_a").parameters["binary_data"].bool_param = False  # the protocol has bytes alone
    assert list(rig.infer(request).raw_output_contents) == [b.tobytes(), a.tobytes()]
    longer = np.zeros((5, 3), np.float32)
    assert list(rig.infer(asked(rig, "echo", a=("FP32", a), b=("FP32", longer))).raw_output_contents)[1] == longer.tobytes()


def test_parameters_of_every_kind_are_passed_on(rig: GrpcRig) -> None:
    request = rig.request()
    for name, kind, value in (
        ("a", "bool_param", True),
        ("b", "int64_param", -(1 << 63)),
        ("c", "string_param", "ö"),
        ("d", "double_param", 0.5),
        ("e", "uint64_param", (1 << 64) - 1),
    ):
        setattr(request.parameters[name], kind, value)
        setattr(request.inputs[0].parameters[name], kind, value)
    request.parameters["binary_data_output"].bool_param = False
    assert rig.infer(request).outputs[0].name == "y"


def test_versions(rig: GrpcRig) -> None:
    assert rig.infer(rig.request(model_version="1.0.0")).model_version == "1.0.0"
    code, text = refusal(lambda: rig.infer(rig.request(model_version="2.0.0")))
    assert code == "NOT_FOUND" and "version 2.0.0 is not served" in text


def test_what_is_wrong_is_named(rig: GrpcRig) -> None:
    def said(change: Callable[[Any], object], values: list[float] | None = None) -> str:
        request = rig.request(values)
        change(request)
        code, text = refusal(lambda: rig.infer(request))
        assert code == "INVALID_ARGUMENT"
        return text

    assert "has shape [1, 2], the model takes [1, 4]" in said(lambda r: None, [1.0, 2.0])
    assert "has shape [4], the model takes [1, 4]" in said(lambda r: r.inputs[0].shape.remove(1))
    assert "the model has no such input" in said(lambda r: setattr(r.inputs[0], "name", "z"))
    assert "has datatype INT32, the model takes FP32" in said(
        lambda r: (setattr(r.inputs[0], "datatype", "INT32"), r.inputs[0].ClearField("contents"))
    )
    assert "x: is missing" in said(lambda r: r.ClearField("inputs"))
    assert "the model has no such output" in said(lambda r: r.outputs.add(name="z"))
    assert "one way for all" in said(lambda r: r.raw_input_contents.append(b"1234"))
    assert "has 2 entries, 1 inputs need one" in said(
        lambda r: (r.inputs[0].ClearField("contents"), r.raw_input_contents.extend([b"", b""]))
    )
    assert "has 4 bytes, its shape" in said(lambda r: (r.inputs[0].ClearField("contents"), r.raw_input_contents.append(b"1234")))
    assert "model's name must have" in said(lambda r: r.ClearField("model_name"))
    assert "model's name must have" in said(lambda r: setattr(r, "model_name", "x" * 2000))
    assert refusal(lambda: rig.infer(rig.messages.of("ModelInferRequest")(model_name="a/../tiny")))[0] == "NOT_FOUND"


def test_large_tensors_pass_and_larger_ones_are_refused(serve: Callable[..., GrpcRig]) -> None:
    rig = serve(large=(([3 << 20],), "uint8"), echo=((["n"],), "uint8"))
    data = np.random.default_rng(1).integers(0, 255, 3 << 20, np.uint8)
    for _ in range(2):
        assert list(rig.infer(asked(rig, "large", a=("UINT8", data))).raw_output_contents) == [data.tobytes()]
    huge = np.zeros((4 << 20) + 1, np.uint8)
    assert refusal(lambda: rig.infer(asked(rig, "echo", a=("UINT8", huge))))[0] == "RESOURCE_EXHAUSTED"
    almost = np.zeros((4 << 20) - 60, np.uint8)  # fits the message, not the API's request
    code, text = refusal(lambda: rig.infer(asked(rig, "echo", a=("UINT8", almost))))
    assert code == "RESOURCE_EXHAUSTED" and "at most 4194304 are taken" in text
    assert list(rig.infer(asked(rig, "echo", a=("UINT8", data[:5]))).raw_output_contents) == [data[:5].tobytes()]
