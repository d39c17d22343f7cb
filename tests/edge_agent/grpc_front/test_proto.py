"""The protocol's files: read by us as by everyone, and the same on the wire as those of other clients."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from benchmarks.inference.environments import HOME
from edge_agent.grpc_front.messages import Messages
from edge_agent.grpc_front.proto_text import ProtoReader

PYTHON = HOME / "tritonclient" / "bin" / "python"
THEIRS = """
import json
from tritonclient.grpc import service_pb2, model_config_pb2
def shown(kind, into):
    into[kind.full_name] = {f.name: [f.number, f.type, f.containing_oneof.name if f.containing_oneof else ""] for f in kind.fields}
    for nested in kind.nested_types:
        shown(nested, into)
kinds, values = {}, {}
for module in (service_pb2, model_config_pb2):
    for kind in module.DESCRIPTOR.message_types_by_name.values():
        shown(kind, kinds)
    for name, enum in module.DESCRIPTOR.enum_types_by_name.items():
        values[name] = {v.name: v.number for v in enum.values}
services = {}
for service in service_pb2.DESCRIPTOR.services_by_name.values():
    services[service.full_name] = {m.name: [m.input_type.full_name, m.output_type.full_name] for m in service.methods}
print(json.dumps([kinds, values, services]))
"""


def read(text: str) -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="test.proto")
    ProtoReader(text, file).read()
    return file


def test_what_the_language_can_say() -> None:
    file = read(
        'syntax = "proto3";\npackage a.b; // a remark\nmessage M {\n  enum E { X = 0; Y = 7; }\n  message N {}\n  repeated N some = 1;\n'
        "  map<string, N> by_name = 2;\n  oneof which { E one = 3; bytes two = 4; }\n}\n"
        "enum Top { T = 0; }\nmessage O { M.N far = 1; Top top = 2; }"
    )
    m, o = file.message_type
    assert (file.package, file.syntax, m.name) == ("a.b", "proto3", "M")
    assert [(f.name, f.number, f.type_name) for f in m.field] == [
        ("some", 1, ".a.b.M.N"),
        ("by_name", 2, ".a.b.M.ByNameEntry"),
        ("one", 3, ".a.b.M.E"),
        ("two", 4, ""),
    ]
    assert [f.HasField("oneof_index") for f in m.field] == [False, False, True, True]
    assert m.nested_type[1].options.map_entry and [f.type_name for f in o.field] == [".a.b.M.N", ".a.b.Top"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("message M { Other o = 1; }", "Other is not declared"),
        ("message M { string s = 1;", "does not end"),
        ("message M { string s : 1; }", "is not understood"),
        ("message M { string s 1; }", "'=' is expected, '1' is found"),
        ("import x;", "'import' is not expected here"),
        ("service S { call A; }", "'call' is not expected in a service"),
    ],
)
def test_what_is_not_understood_is_said(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(text)


def shown(kind: Any, into: dict[str, dict[str, list[Any]]]) -> None:
    into[kind.full_name] = {f.name: [f.number, f.type, f.containing_oneof.name if f.containing_oneof else ""] for f in kind.fields}
    for nested in kind.nested_types:
        shown(nested, into)


@pytest.mark.skipif(not PYTHON.is_file(), reason=f"tritonclient is not installed in {PYTHON.parent.parent} (make bench-inference does)")
def test_names_and_numbers_are_those_of_tritonclient() -> None:
    done = subprocess.run([str(PYTHON), "-c", THEIRS], capture_output=True, text=True, check=True, timeout=60)
    kinds, values, services = json.loads(done.stdout)
    messages = Messages()
    ours: dict[str, dict[str, list[Any]]] = {}
    for name in kinds:
        if name.count(".") == 1:
            try:
                shown(messages.of(name).DESCRIPTOR, ours)
            except KeyError:
                assert not name.endswith(("Request", "Response")) or name.startswith(("inference.Trace", "inference.Log", "inference.Cuda"))
    assert len(ours) > 50 and "inference.ModelInferRequest.InferInputTensor.ParametersEntry" in ours
    for name, fields in ours.items():
        for field, told in fields.items():
            assert kinds[name][field] == told, f"{name}.{field}"
    for name in ("ModelInferRequest", "ModelInferResponse", "InferParameter", "InferTensorContents", "ModelMetadataResponse"):
        assert set(ours[f"inference.{name}"]) == set(kinds[f"inference.{name}"])
    enum = messages.of("ModelInput").DESCRIPTOR.fields_by_name["data_type"].enum_type
    assert {v.name: v.number for v in enum.values} == values["DataType"]
    theirs = services["inference.GRPCInferenceService"]
    for method in messages.methods:
        if method.service in services:
            assert theirs[method.name] == [method.request, method.answer]
    assert set(theirs) - {m.name for m in messages.methods} == {"CudaSharedMemoryRegister", "TraceSetting", "LogSettings"}
