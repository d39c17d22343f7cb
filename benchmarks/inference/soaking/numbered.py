"""Readings that carry their own number through the model, so that every answer tells which reading it is of and which version gave it.

Four channels: the number's low and high thousands, and two waves. Two of the model's five scores are the first two channels unchanged;
the other three depend on the version's weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_agent.bundle.archive import write_bundle
from edge_agent.bundle.golden import tensor_bytes
from edge_agent.bundle.manifest import FileEntry, GoldenCase, GoldenTensor, Manifest, RuntimeRequirement, Step
from edge_agent.values import TensorSpec

CHANNELS, WEIGHTED, SCORES = 4, 3, 5
THOUSAND = 1000
STEP, MIDDLE = 250.0, 2.0
TOLERANCE = 1e-3
MOST = THOUSAND * THOUSAND
"""Numbers from here on could not be told from smaller ones."""


def reading(number: int) -> tuple[float, float, float, float]:
    """The channels of reading ``number``; no two below :data:`MOST` are alike."""
    low, high = number % THOUSAND, number // THOUSAND % THOUSAND
    return low / STEP - MIDDLE, high / STEP - MIDDLE, round(math.sin(number / 10), 4), round(math.cos(number / 7), 4)


def number_of(scores: Sequence[float]) -> int:
    """The number of the reading that was answered with ``scores``."""
    low, high = (round((value + MIDDLE) * STEP) for value in scores[WEIGHTED:SCORES])
    return high * THOUSAND + low


@lru_cache(maxsize=64)
def weights(seed: int) -> tuple[tuple[float, ...], ...]:
    """Of version ``seed``: one row for each of the three scores that depend on it, the last value of a row is added."""
    drawn = np.random.default_rng(seed).normal(0, 1, (WEIGHTED, CHANNELS + 1)).astype(np.float32)
    return tuple(tuple(map(float, row)) for row in drawn)


def is_answer(scores: Sequence[float], number: int, seed: int) -> bool:
    """Whether version ``seed`` answers reading ``number`` so."""
    x = reading(number)
    wanted = [sum(w * v for w, v in zip(row, (*x, 1.0), strict=True)) for row in weights(seed)] + [x[0], x[1]]
    return len(scores) == SCORES and all(abs(a - b) < TOLERANCE for a, b in zip(scores, wanted, strict=True))


def seed_of(version: str) -> int:
    """``1.0.17`` is of seed 17."""
    return int(version.rsplit(".", 1)[1])


def numbered_bundle(path: Path, seed: int, name: str = "numbered") -> Path:
    """Version 1.0.SEED of the model, whole and true, with a golden case."""
    rows = np.array(weights(seed), np.float32)
    matrix = np.concatenate([rows[:, :CHANNELS], np.eye(2, CHANNELS, dtype=np.float32)]).T
    offset = np.concatenate([rows[:, CHANNELS], np.zeros(2, np.float32)])
    x = np.array([reading(seed)], np.float32)
    model = _model([helper.make_node("Gemm", ["x", "w", "b"], ["y"])], {"w": matrix, "b": offset}, (1, CHANNELS), (1, SCORES))
    return _write(path, name, f"1.0.{seed}", model, x, x @ matrix + offset)


def window_bundle(path: Path, rows: int, name: str = "window") -> Path:
    """A model for windows of ``rows`` readings that takes some milliseconds: many products of a matrix with itself."""
    random = np.random.default_rng(1)
    matrix = np.linalg.qr(random.normal(0, 1, (256, 256)))[0].astype(np.float32)
    first = random.normal(0, 0.1, (rows * CHANNELS, 256)).astype(np.float32)
    last = random.normal(0, 0.1, (256, SCORES)).astype(np.float32)
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "first"], ["h0"])]
    nodes += [helper.make_node("MatMul", [f"h{index}", "matrix"], [f"h{index + 1}"]) for index in range(32)]
    nodes += [helper.make_node("MatMul", ["h32", "last"], ["y"])]
    model = _model(nodes, {"first": first, "matrix": matrix, "last": last}, (1, rows, CHANNELS), (1, SCORES))
    x = random.normal(0, 1, (1, rows, CHANNELS)).astype(np.float32)
    y = x.reshape(1, -1) @ first @ np.linalg.matrix_power(matrix.astype(np.float64), 32) @ last
    return _write(path, name, "1.0.1", model, x, y.astype(np.float32))


def _model(nodes: list[Any], constants: dict[str, Any], x: Sequence[int], y: Sequence[int]) -> bytes:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)]
    graph = helper.make_graph(nodes, "soak", inputs, outputs, [numpy_helper.from_array(v, name) for name, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _write(path: Path, name: str, version: str, model: bytes, x: Any, y: Any) -> Path:
    files = {"model.onnx": model, "golden/x.bin": tensor_bytes(x), "golden/y.bin": tensor_bytes(y.astype(np.float32))}
    roles = {"model.onnx": "model", "golden/x.bin": "golden", "golden/y.bin": "golden"}
    manifest = Manifest(
        name=name,
        version=version,
        runtime=RuntimeRequirement("onnx"),
        files=tuple(_entry(file, roles[file], content) for file, content in files.items()),
        inputs=(TensorSpec("x", "float32", x.shape),),
        outputs=(TensorSpec("y", "float32", (1, SCORES)),),
        preprocess=(Step("reshape", {"shape": list(x.shape)}),),
        postprocess=(Step("argmax"),),
        labels=tuple("abcde"),
        golden=(
            GoldenCase(
                (GoldenTensor("x", "golden/x.bin", "float32", x.shape),),
                (GoldenTensor("y", "golden/y.bin", "float32", (1, SCORES)),),
                atol=TOLERANCE,
                rtol=TOLERANCE,
            ),
        ),
        created="2026-01-01T00:00:00Z",
    )
    write_bundle(path, manifest, files)
    return path


def _entry(path: str, role: str, content: bytes) -> FileEntry:
    import hashlib

    return FileEntry(path, role, len(content), hashlib.sha256(content).hexdigest())
