"""Whether a server answers what ONNX Runtime answers: no figure is taken of one that does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inference.nets import NETS, bare_session
from benchmarks.inference.server import Server, ServerFailed

TOLERANCE = 1e-4


def true_answers(models: Mapping[str, Path]) -> dict[str, Any]:
    """What ONNX Runtime answers to each network's sample 0."""
    return {name: bare_session(file).run(None, {"x": NETS[name].sample()})[0] for name, file in models.items()}


def check_answers(server: Server, wanted: Mapping[str, Any]) -> None:
    """One request each, with JSON tensors, which all of them take. Raises ServerFailed for a wrong answer."""
    for name, answer in wanted.items():
        x = NETS[name].sample()
        given = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}
        status, body = server.call("POST", f"/v2/models/{name}/infer", json.dumps({"inputs": [given]}).encode())
        if status != 200:
            raise ServerFailed(f"{server.title}: {name} answered {status}: {body[:300]!r}")
        found = np.asarray(json.loads(body)["outputs"][0]["data"], np.float32).reshape(answer.shape)
        if not np.allclose(found, answer, atol=TOLERANCE):
            raise ServerFailed(f"{server.title}: {name} answered {found.ravel()[:4]}, not {answer.ravel()[:4]}")
