"""What ``tritonclient``, unmodified, can do with a server: ``client_matrix.py HTTP_URL GRPC_URL MODEL SHAPE``, run where it is installed.

The model takes one FP32 tensor ``x`` and answers ``y``. Prints a JSON object: for each call nothing, or why it failed. GRPC_URL may be
``-``, SHAPE has commas.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http

Calls = dict[str, Callable[[], object]]


def http_calls(client: Any, model: str, shape: list[int]) -> Calls:
    """Fourteen calls; each is fine when what it gives is true."""
    http = tritonclient.http

    def infer(*, binary: bool, outputs: bool | None) -> bool:
        given = http.InferInput("x", shape, "FP32")
        given.set_data_from_numpy(np.ones(shape, np.float32), binary_data=binary)
        asked = None if outputs is None else [http.InferRequestedOutput("y", binary_data=outputs)]
        answer = client.infer(model, [given], outputs=asked, request_id="one")
        return answer.as_numpy("y") is not None and answer.get_response().get("id") == "one"

    return {
        "live": client.is_server_live,
        "ready": client.is_server_ready,
        "model ready": partial(client.is_model_ready, model),
        "server metadata": lambda: client.get_server_metadata()["name"],
        "model metadata": lambda: client.get_model_metadata(model)["inputs"][0]["datatype"] == "FP32",
        "infer, as it comes": partial(infer, binary=True, outputs=None),
        "infer, JSON in, as it comes out": partial(infer, binary=False, outputs=None),
        "infer, JSON in and out": partial(infer, binary=False, outputs=False),
        "infer, bytes in and out": partial(infer, binary=True, outputs=True),
        "model config": lambda: client.get_model_config(model)["name"] == model,
        "statistics": lambda: client.get_inference_statistics(model)["model_stats"],
        "repository index": lambda: any(one["name"] == model for one in client.get_model_repository_index()),
        "load": lambda: client.load_model(model) is None,
        "shared memory status": lambda: client.get_system_shared_memory_status() is not None,
    }


def grpc_calls(client: Any, model: str, shape: list[int]) -> Calls:
    """The six of the protocol itself."""
    grpc = tritonclient.grpc

    def infer() -> bool:
        given = grpc.InferInput("x", shape, "FP32")
        given.set_data_from_numpy(np.ones(shape, np.float32))
        return client.infer(model, [given]).as_numpy("y") is not None

    return {
        "ServerLive": client.is_server_live,
        "ServerReady": client.is_server_ready,
        "ModelReady": partial(client.is_model_ready, model),
        "ServerMetadata": lambda: client.get_server_metadata().name,
        "ModelMetadata": lambda: client.get_model_metadata(model).inputs[0].datatype == "FP32",
        "ModelInfer": infer,
    }


def tried(calls: Calls) -> dict[str, str]:
    """Every call once; nothing for one that went well, else the reason."""
    return {name: _why(call) for name, call in calls.items()}


def _why(call: Callable[[], object]) -> str:
    try:
        return "" if call() else "it says no"
    except Exception as error:  # whatever the client raises is the finding
        return " ".join(f"{type(error).__name__}: {error}".split())[:160]


if __name__ == "__main__":
    http_url, grpc_url, name, sizes = sys.argv[1:5]
    shape = [int(size) for size in sizes.split(",")]
    found = {"http": tried(http_calls(tritonclient.http.InferenceServerClient(http_url), name, shape)), "grpc": {}}
    if grpc_url != "-":
        found["grpc"] = tried(grpc_calls(tritonclient.grpc.InferenceServerClient(grpc_url), name, shape))
    print(json.dumps(found))
