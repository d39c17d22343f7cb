"""What Triton's Python back end runs: one ONNX model, one thread, no spinning."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"


class TritonPythonModel:
    """The name and the methods are those the back end looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        ort: Any = importlib.import_module("onnxruntime")
        self._backend: Any = importlib.import_module("triton_python_backend_utils")
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        file = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def execute(self, requests: list[Any]) -> list[Any]:
        backend, answers = self._backend, []
        for request in requests:
            x = backend.get_input_tensor_by_name(request, "x").as_numpy()
            (y,) = self._session.run(["y"], {"x": x})
            answers.append(backend.InferenceResponse(output_tensors=[backend.Tensor("y", y)]))
        return answers
