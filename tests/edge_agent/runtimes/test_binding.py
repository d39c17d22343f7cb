"""Inference from and into memory that stays: bit-identical to a run with arrays, nothing copied, and refused where it cannot be."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import tiny_onnx, tiny_tflite

from edge_agent.errors import ModelError
from edge_agent.ports import Runtime
from edge_agent.runtimes.choose import load_model_file

X = np.array([[0.5, -1.0, 2.0, 0.25]], np.float32)


def make(kind: str, folder: Path, *, free: bool = False) -> Path:
    if kind == "onnx":
        return tiny_onnx(folder / "m.onnx", batch="n" if free else 1)
    return tiny_tflite(folder / "m.tflite", free_batch=free)


def shared(rows: int = 1) -> tuple[mmap.mmap, Any, Any]:
    """Input and output views, 64 bytes apart at least, of memory that could be another process's too."""
    memory = mmap.mmap(-1, 4096)
    return (
        memory,
        np.frombuffer(memory, np.float32, rows * 4).reshape(rows, 4),
        np.frombuffer(memory, np.float32, rows * 3, 1024).reshape(rows, 3),
    )


@pytest.fixture(params=["onnx", "tflite"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_answers_are_bit_identical_to_a_run(kind: str, tmp_path: Path) -> None:
    runtime = load_model_file(make(kind, tmp_path))
    _, x, y = shared()
    infer = runtime.bind({"x": x}, {"y": y})
    assert infer is not None
    for seed in range(50):
        x[:] = np.random.default_rng(seed).normal(0, 3, (1, 4))
        infer()
        assert y.tobytes() == runtime.run({"x": np.array(x)})["y"].tobytes()


def test_every_slot_keeps_to_its_own_memory(kind: str, tmp_path: Path) -> None:
    runtime = load_model_file(make(kind, tmp_path))
    slots = [shared() for _ in range(3)]
    calls = [runtime.bind({"x": x}, {"y": y}) for _, x, y in slots]
    for index, (_, x, _) in enumerate(slots):
        x[:] = X * index
    for call in calls:
        assert call is not None
        call()
    for index, (_, _, y) in enumerate(slots):
        assert y.tobytes() == runtime.run({"x": X * np.float32(index)})["y"].tobytes()


def test_a_model_with_a_free_batch_is_bound_at_the_size_of_the_arrays(kind: str, tmp_path: Path) -> None:
    runtime = load_model_file(make(kind, tmp_path, free=True))
    _, x, y = shared(rows=3)
    infer = runtime.bind({"x": x}, {"y": y})
    assert infer is not None
    x[:] = X * np.array([[1], [2], [3]], np.float32)
    runtime.run({"x": X})  # one row between two inferences of three
    infer()
    expected = runtime.run({"x": np.array(x)})["y"]
    y[:] = 0
    infer()
    assert y.tobytes() == expected.tobytes()


def test_an_answer_that_does_not_fit_its_place_is_an_error_and_the_model_goes_on(kind: str, tmp_path: Path) -> None:
    runtime = load_model_file(make(kind, tmp_path, free=True))
    _, x, y = shared(rows=3)
    infer = runtime.bind({"x": x}, {"y": y[:1]})
    assert infer is not None
    with pytest.raises(ModelError, match="inference failed"):
        infer()
    assert runtime.run({"x": X})["y"].shape == (1, 3)


def not_bound(runtime: Runtime, x: Any, y: Any) -> bool:
    return runtime.bind({"x": x}, {"y": y}) is None


def test_what_cannot_be_bound_is_told_by_none(kind: str, tmp_path: Path) -> None:
    runtime = load_model_file(make(kind, tmp_path))
    _, x, y = shared()
    assert not_bound(runtime, x[:, :3], y)
    assert not_bound(runtime, x.astype(np.float64), y)
    assert not_bound(runtime, np.zeros((1, 8), np.float32)[:, ::2], y)
    assert not_bound(runtime, x, y[:, :2])
    y.flags.writeable = False
    assert not_bound(runtime, x, y)
    assert runtime.bind({"z": x}, {"y": x}) is None and runtime.bind({"x": x}, {}) is None


def test_the_memory_outlives_every_other_reference(kind: str, tmp_path: Path) -> None:
    runtime = load_model_file(make(kind, tmp_path))
    x = np.array(X)
    y = np.zeros((1, 3), np.float32)
    infer = runtime.bind({"x": x}, {"y": y})
    expected = runtime.run({"x": X})["y"]
    watch = y.view()
    del x, y
    assert infer is not None
    infer()
    assert watch.tobytes() == expected.tobytes()
