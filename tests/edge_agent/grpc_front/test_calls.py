"""Every call of the protocol beside inference."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from front_rig import FrontRig
from grpc_rig import GrpcRig, refusal

MODEL = {"name": "tiny", "version": "1.0.0"}


def test_live_and_ready(rig: GrpcRig) -> None:
    assert rig.call("ServerLive").live and rig.call("ServerReady").ready
    assert rig.call("ModelReady", **MODEL).ready and rig.call("ModelReady", name="tiny").ready
    assert not rig.call("ModelReady", name="stranger").ready
    assert not rig.call("ModelReady", name="tiny", version="7.7").ready


def test_server_metadata(rig: GrpcRig) -> None:
    told = rig.call("ServerMetadata")
    assert (told.name, told.version) == ("edge-agent", "1.0")
    assert "binary_tensor_data" in told.extensions


def test_model_metadata(rig: GrpcRig) -> None:
    told = rig.call("ModelMetadata", **MODEL)
    assert (told.name, list(told.versions), told.platform) == ("tiny", ["1.0.0"], "onnxruntime_onnx")
    assert [(t.name, t.datatype, list(t.shape)) for t in (*told.inputs, *told.outputs)] == [("x", "FP32", [1, 4]), ("y", "FP32", [1, 3])]


def test_model_configuration(rig: GrpcRig) -> None:
    config = rig.call("ModelConfig", name="tiny").config
    assert (config.name, config.backend, config.max_batch_size) == ("tiny", "onnxruntime", 0)
    assert [(t.name, t.data_type, list(t.dims)) for t in (*config.input, *config.output)] == [("x", 11, [1, 4]), ("y", 11, [1, 3])]
    assert config.parameters["version"].string_value == "1.0.0"
    assert config.version_policy.latest.num_versions == 1 and config.instance_group[0].kind == 2


def test_statistics_grow_with_requests(rig: GrpcRig) -> None:
    before = rig.call("ModelStatistics", name="tiny").model_stats[0]
    for _ in range(3):
        rig.infer(rig.request())
    after = rig.call("ModelStatistics").model_stats[0]
    assert after.name == "tiny" and after.version == before.version != ""
    assert after.inference_count == before.inference_count + 3
    assert after.inference_stats.queue.count == before.inference_stats.queue.count + 3
    assert after.inference_stats.success.ns > before.inference_stats.success.ns and after.last_inference


def test_repository_index(rig: GrpcRig) -> None:
    (model,) = rig.call("RepositoryIndex").models
    assert (model.name, model.version, model.state) == ("tiny", "1.0.0", "READY")
    rig.front.say({"op": "models", "models": [{"name": "other", "version": "2", "digest": "d", "state": "starting"}]})
    assert {m.name: m.state for m in rig.call("RepositoryIndex").models} == {"tiny": "READY", "other": "LOADING"}
    assert [m.name for m in rig.call("RepositoryIndex", ready=True).models] == ["tiny"]


@pytest.mark.parametrize(("call", "verb"), [("RepositoryModelLoad", "load"), ("RepositoryModelUnload", "unload")])
def test_load_and_unload_wait_for_the_engine(rig: GrpcRig, call: str, verb: str) -> None:
    with ThreadPoolExecutor(1) as apart:
        asked = apart.submit(rig.call, call, model_name="tiny")
        said = rig.front.wait_message("call", call=verb, model="tiny")
        rig.front.say({"op": "done", "id": said["id"], "error": ""})
        assert asked.result(10) is not None
        asked = apart.submit(refusal, lambda: rig.call(call, model_name="mine/and yours"))
        said = rig.front.wait_message("call", call=verb, model="mine/and yours")
        rig.front.say({"op": "done", "id": said["id"], "error": "it is gone"})
        assert asked.result(10) == ("INVALID_ARGUMENT", f"failed to {verb} mine/and yours: it is gone")


def test_a_model_cannot_be_sent(rig: GrpcRig) -> None:
    parameter = rig.messages.of("ModelRepositoryParameter")
    for name, value in (("config", parameter(string_param="{}")), ("file:1/model.onnx", parameter(bytes_param=b"\xff\0"))):
        code, text = refusal(lambda name=name, value=value: rig.call("RepositoryModelLoad", model_name="tiny", parameters={name: value}))
        assert code == "INVALID_ARGUMENT" and "install it as a bundle" in text
    assert refusal(lambda: rig.call("RepositoryModelLoad"))[0] == "INVALID_ARGUMENT"


def test_loading_may_be_forbidden(make_front: Callable[..., FrontRig], make_rig: Callable[..., GrpcRig]) -> None:
    rig = make_rig(make_front(load_allowed=False))
    assert refusal(lambda: rig.call("RepositoryModelLoad", model_name="tiny"))[0] == "PERMISSION_DENIED"


@pytest.fixture
def key() -> Iterator[str]:
    path = Path("/dev/shm") / f"edge-grpc-{os.getpid()}"
    path.write_bytes(np.array([1, 2, 3, 4], np.float32).tobytes() + bytes(64))
    yield path.name
    path.unlink(missing_ok=True)


def test_tensors_in_shared_memory(rig: GrpcRig, key: str) -> None:
    assert not rig.call("SystemSharedMemoryStatus").regions
    rig.call("SystemSharedMemoryRegister", name="r", key=key, byte_size=80)
    region = rig.call("SystemSharedMemoryStatus", name="r").regions["r"]
    assert (region.name, region.key, region.offset, region.byte_size) == ("r", key, 0, 80)
    request = rig.messages.of("ModelInferRequest")(model_name="tiny")
    tensors = request.inputs.add(name="x", datatype="FP32", shape=[1, 4]), request.outputs.add(name="y")
    for tensor, offset, size in ((tensors[0], 0, 16), (tensors[1], 16, 12)):
        tensor.parameters["shared_memory_region"].string_param = "r"
        tensor.parameters["shared_memory_offset"].int64_param = offset
        tensor.parameters["shared_memory_byte_size"].int64_param = size
    answer = rig.infer(request)
    assert (answer.outputs[0].name, list(answer.outputs[0].shape)) == ("y", [1, 3])
    assert list(answer.raw_output_contents) == [b""]  # clients count these against the outputs
    assert np.frombuffer((Path("/dev/shm") / key).read_bytes()[16:28], np.float32).tolist() == [10, 0, 0]
    rig.call("SystemSharedMemoryUnregister", name="r")
    assert refusal(lambda: rig.infer(request)) == ("INVALID_ARGUMENT", "shared memory region r is not registered")
    assert refusal(lambda: rig.call("SystemSharedMemoryStatus", name="r"))[0] == "NOT_FOUND"
    assert refusal(lambda: rig.call("SystemSharedMemoryRegister", key=key, byte_size=80))[0] == "INVALID_ARGUMENT"


def test_there_is_no_shared_memory_of_devices(rig: GrpcRig) -> None:
    assert not rig.call("CudaSharedMemoryStatus").regions
    rig.call("CudaSharedMemoryUnregister")
    code, text = refusal(lambda: rig.method("CudaSharedMemoryRegister")(b""))
    assert code == "UNIMPLEMENTED" and "CudaSharedMemoryRegister is not offered here" in text


@pytest.mark.parametrize("method", ["TraceSetting", "LogSettings", "Anything"])
def test_other_calls_are_unimplemented(rig: GrpcRig, method: str) -> None:
    assert refusal(lambda: rig.method(method)(b"", timeout=10)) == (
        "UNIMPLEMENTED",
        f"/inference.GRPCInferenceService/{method} is not offered here",
    )


def test_health_service(rig: GrpcRig) -> None:
    health = "grpc.health.v1"

    def status(service: str) -> int:
        request = rig.messages.of(f"{health}.HealthCheckRequest")(service=service)
        data = rig.method("Check", f"{health}.Health")(request.SerializeToString(), timeout=10)
        return int(rig.messages.read(f"{health}.HealthCheckResponse", data).status)

    assert [status(service) for service in ("", "inference.GRPCInferenceService", "tiny")] == [1, 1, 1]
    assert refusal(lambda: status("stranger"))[0] == "NOT_FOUND"
    rig.front.say({"op": "withdrawn", "model": "tiny"})
    rig.front.say({"op": "models", "models": [{"name": "tiny", "version": "1", "digest": "d", "state": "starting"}]})
    assert status("tiny") == 2


@pytest.mark.parametrize("method", ["ModelMetadata", "ModelConfig", "ModelStatistics"])
def test_unknown_models_and_versions(rig: GrpcRig, method: str) -> None:
    code, text = refusal(lambda: rig.call(method, name="stranger"))
    assert code == "NOT_FOUND" and "stranger" in text and "tiny" in text
    if method != "ModelStatistics":
        assert refusal(lambda: rig.call(method, name="tiny", version="9"))[0] == "NOT_FOUND"
        assert refusal(lambda: rig.call(method))[0] == "INVALID_ARGUMENT"


def test_bytes_that_are_no_message(rig: GrpcRig) -> None:
    for method in ("ModelMetadata", "ModelInfer"):
        assert refusal(lambda method=method: rig.method(method)(b"\x0a\xff", timeout=10))[0] == "INVALID_ARGUMENT"
