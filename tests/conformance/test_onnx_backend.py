"""The ONNX backend suite that ships in the onnx wheel, through the device's runtime: whatever plain ONNX Runtime answers, it answers alike.

A device feeds arrays of numbers: cases with texts, sequences or optionals are refused by name. Every seventh case is run; all of them with
``EDGE_BACKEND_ALL=1`` (about a minute).
"""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.errors import ModelError
from edge_agent.runtimes.onnx import OnnxRuntime, import_onnxruntime

REFUSED = ("which is not supported", "has no output of numbers")


def cases() -> list[Any]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = sorted(load_model_tests(kind="node"), key=lambda case: str(case.name))
    return [case for case in found if case.model is not None]


def plain(path: Path, inputs: list[Any]) -> list[Any] | None:
    """What ONNX Runtime itself answers; ``None`` when it refuses."""
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return list(session.run(None, dict(zip([node.name for node in session.get_inputs()], inputs, strict=False))))
    except Exception:  # its exception types are private to it
        return None


def ours(path: Path, inputs: list[Any]) -> list[Any]:
    runtime = OnnxRuntime(path)
    try:
        return list(runtime.run(dict(zip([spec.name for spec in runtime.inputs], inputs, strict=False))).values())
    finally:
        runtime.close()


def arrays(values: Any) -> list[Any]:
    from onnx import TensorProto, numpy_helper

    return [numpy_helper.to_array(value) if isinstance(value, TensorProto) else value for value in values]


def test_whatever_onnx_runtime_answers_the_device_answers_alike() -> None:
    pytest.importorskip("onnx", reason="onnx is not installed, which brings the suite")
    step = 1 if os.environ.get("EDGE_BACKEND_ALL") else 7
    compared, refused, wrong = 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        for case in cases()[::step]:
            path.write_bytes(case.model.SerializeToString())
            inputs = arrays(case.data_sets[0][0])
            expected = plain(path, inputs)
            if expected is None:
                continue
            try:
                given = ours(path, inputs)
            except ModelError as error:
                refused += any(word in str(error) for word in REFUSED)
                if not any(word in str(error) for word in REFUSED):
                    wrong.append(f"{case.name}: {error}")
                continue
            compared += 1
            numeric = [value for value in expected if isinstance(value, np.ndarray) and value.dtype.kind in "biuf"]
            if not _alike(case.name, given, numeric):
                wrong.append(f"{case.name}: answers differ")
    assert not wrong
    assert compared > 1300 / step
    assert refused < 120 / step


def _alike(name: str, given: list[Any], expected: list[Any]) -> bool:
    if any(word in name for word in ("bernoulli", "random", "dropout", "training")):  # these draw numbers
        return len(given) == len(expected)
    pairs = zip(given, expected, strict=True)
    return all(a.shape == b.shape and np.allclose(a, b, rtol=1e-3, atol=1e-5, equal_nan=True) for a, b in pairs)
