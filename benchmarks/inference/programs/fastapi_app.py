"""What a person writes who serves ONNX files with FastAPI: ``fastapi_app.py PORT {"NAME": "FILE"}``, one thread, no spinning.

Takes tensors as JSON and as bytes after the JSON, answers in kind.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

HEADER = "inference-header-content-length"
app = FastAPI(openapi_url=None)
sessions: dict[str, Any] = {}


async def ready(model: str = "") -> dict[str, bool]:
    return {"ready": True}


async def infer(model: str, request: Request) -> Response:
    body = await request.body()
    length = request.headers.get(HEADER)
    head = orjson.loads(body[: int(length)] if length else body)
    given = head["inputs"][0]
    if length:
        x = np.frombuffer(body, np.float32, offset=int(length)).reshape(given["shape"])
    else:
        x = np.asarray(given["data"], np.float32).reshape(given["shape"])
    (y,) = sessions[model].run(["y"], {"x": x})
    output = {"name": "y", "datatype": "FP32", "shape": y.shape}
    if length:
        output["parameters"] = {"binary_data_size": y.nbytes}
        text = orjson.dumps({"model_name": model, "outputs": [output]})
        return Response(text + y.tobytes(), media_type="application/octet-stream", headers={HEADER: str(len(text))})
    output["data"] = y.ravel()
    return Response(
        orjson.dumps({"model_name": model, "outputs": [output]}, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json"
    )


if __name__ == "__main__":
    for path in ("/v2/health/ready", "/v2/models/{model}/ready"):
        app.add_api_route(path, ready)
    app.add_api_route("/v2/models/{model}/infer", infer, methods=["POST"])
    for name, file in json.loads(sys.argv[2]).items():
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        sessions[name] = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, http="httptools", loop="uvloop")
