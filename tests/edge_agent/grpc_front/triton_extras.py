"""What tritonclient can do beside the protocol's six calls, with model ``tiny``: ``triton_extras.py URL``, run where it is installed."""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.utils.shared_memory as memory
from tritonclient.utils import InferenceServerException

MODEL, ANSWER = "tiny", [[10.0, 0.0, 0.0]]
VALUES = np.array([[1, 2, 3, 4]], np.float32)


def given() -> Any:
    tensor = triton.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(VALUES)
    return tensor


def configuration(client: Any) -> None:
    assert client.get_model_config(MODEL).config.input[0].dims == [1, 4]
    assert client.get_model_config(MODEL, as_json=True)["config"]["input"][0]["data_type"] == "TYPE_FP32"


def statistics(client: Any) -> None:
    before = client.get_inference_statistics(MODEL).model_stats[0].inference_stats.queue.count
    assert client.infer(MODEL, [given()], request_id="r", parameters={"mine": 7}).get_response().id == "r"
    assert client.get_inference_statistics().model_stats[0].inference_stats.queue.count == before + 1


def repository(client: Any) -> None:
    assert [(m.name, m.state) for m in client.get_model_repository_index().models] == [(MODEL, "READY")]
    client.load_model(MODEL)
    client.unload_model(MODEL)
    assert not client.is_model_ready(MODEL)
    client.load_model(MODEL)
    assert client.is_model_ready(MODEL)


def shared_memory(client: Any) -> None:
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()
    ours = {name: memory.create_shared_memory_region(name, f"/edge-extras-{name}", 64) for name in ("in", "out")}
    try:
        memory.set_shared_memory_region(ours["in"], [VALUES])
        for name in ours:
            client.register_system_shared_memory(name, f"/edge-extras-{name}", 64)
        assert set(client.get_system_shared_memory_status().regions) == {"in", "out"}
        tensor, wanted = triton.InferInput("x", [1, 4], "FP32"), triton.InferRequestedOutput("y")
        tensor.set_shared_memory("in", 16)
        wanted.set_shared_memory("out", 12)
        client.infer(MODEL, [tensor], outputs=[wanted])
        assert memory.get_contents_as_numpy(ours["out"], np.float32, [1, 3]).tolist() == ANSWER
        assert client.infer(MODEL, [tensor]).as_numpy("y").tolist() == ANSWER
        client.unregister_system_shared_memory("in")
        assert set(client.get_system_shared_memory_status().regions) == {"out"}
    finally:
        client.unregister_system_shared_memory()
        for region in ours.values():
            memory.destroy_shared_memory_region(region)


def stream(client: Any) -> None:
    heard: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: heard.put((result, error)))
    strange = triton.InferInput("z", [1, 4], "FP32")
    strange.set_data_from_numpy(VALUES)
    for number in range(5):
        client.async_stream_infer(MODEL, [strange if number == 2 else given()], request_id=str(number))
    answers = [heard.get(timeout=10) for _ in range(5)]
    client.stop_stream()
    for number, (result, error) in enumerate(answers):
        assert (error is not None) == (number == 2)
        assert error is not None or (result.get_response().id == str(number) and result.as_numpy("y").tolist() == ANSWER)


def refusals(client: Any) -> None:
    text = triton.InferInput("x", [1], "BYTES")
    text.set_data_from_numpy(np.array([b"x"], dtype=object))
    refused(lambda: client.infer(MODEL, [text]), "INVALID_ARGUMENT", "BYTES is not taken")
    refused(lambda: client.infer("stranger", [given()]), "NOT_FOUND", "stranger")
    refused(lambda: client.infer(MODEL, [given()], model_version="77"), "NOT_FOUND", "77")
    refused(lambda: client.load_model(MODEL, config="{}"), "INVALID_ARGUMENT", "install it as a bundle")
    refused(client.get_trace_settings, "UNIMPLEMENTED", "TraceSetting is not offered here")
    refused(lambda: client.update_log_settings({"log_info": True}), "UNIMPLEMENTED", "LogSettings is not offered here")


def refused(call: Callable[[], object], code: str, text: str) -> None:
    try:
        call()
    except InferenceServerException as error:
        assert code in str(error.status()) and text in error.message(), error
    else:
        raise AssertionError(f"it was answered, not refused with {code}")


if __name__ == "__main__":
    server = triton.InferenceServerClient(sys.argv[1])
    for check, name in (
        (configuration, "configuration"),
        (statistics, "statistics"),
        (repository, "repository"),
        (shared_memory, "memory"),
        (stream, "stream"),
        (refusals, "refusals"),
    ):
        check(server)
        print(name)
