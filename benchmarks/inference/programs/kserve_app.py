"""What KServe's SDK serves: ``kserve_app.py HTTP_PORT GRPC_PORT {"NAME": "FILE"}``, one thread, no spinning."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class OnnxModel(Model):  # type: ignore[misc]
    def __init__(self, name: str, file: str) -> None:
        super().__init__(name)
        self._file = file
        self.load()

    def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(self._file, options, providers=["CPUExecutionProvider"])
        self.ready = True
        return True

    async def get_input_types(self) -> list[dict[str, Any]]:
        return [{"name": node.name, "datatype": "FP32", "shape": node.shape} for node in self._session.get_inputs()]

    async def get_output_types(self) -> list[dict[str, Any]]:
        return [{"name": node.name, "datatype": "FP32", "shape": node.shape} for node in self._session.get_outputs()]

    async def predict(self, payload: InferRequest, headers: Any = None, response_headers: Any = None) -> InferResponse:
        (y,) = self._session.run(["y"], {"x": payload.inputs[0].as_numpy()})
        output = InferOutput("y", list(y.shape), "FP32")
        output.set_data_from_numpy(y, binary_data=bool(payload.inputs[0]._raw_data))
        return InferResponse(payload.id or "0", self.name, [output])


if __name__ == "__main__":
    http_port, grpc_port, models = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    ModelServer(http_port=http_port, grpc_port=grpc_port, workers=1, enable_docs_url=False).start(
        [OnnxModel(name, file) for name, file in models.items()]
    )
