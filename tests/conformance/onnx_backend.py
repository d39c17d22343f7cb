"""A runner for the ONNX backend suite (``onnx.backend.test``): every case through the device's own runtime code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_agent.runtimes.onnx import OnnxRuntime


def run(path: str, inputs: list[Any]) -> list[Any]:
    """The outputs of the model in ``path``, in order, for ``inputs`` in order."""
    runtime = OnnxRuntime(Path(path))
    try:
        given = dict(zip((spec.name for spec in runtime.inputs), inputs, strict=False))
        return list(runtime.run(given).values())
    finally:
        runtime.close()
