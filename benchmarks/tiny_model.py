"""A real ONNX model of a few hundred bytes, its manifest and golden case, and a store that is a folder: for benchmarks and tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.folder_store import FolderStore as FolderStore
from benchmarks.folder_store import TinyBundle as TinyBundle
from edge_agent.bundle.manifest import FileEntry, GoldenCase, GoldenTensor, Manifest, Requirements, RuntimeRequirement, Step, to_json
from edge_agent.values import TensorSpec

CHANNELS = 4
CLASSES = 3
IR_VERSION = 10
OPSET = 17


def _first_wins() -> Any:
    weights = np.zeros((CHANNELS, CLASSES), np.float32)
    weights[:, 0] = 1.0
    return weights


_WEIGHTS = numpy_helper.from_array(_first_wins(), "w")
_TRUE = numpy_helper.from_array(np.array(True), "true")


def _turning(turns: str) -> Any:
    """A node that gives ``start`` as ``y`` after ``turns`` idle turns."""
    state = [1, CLASSES]
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_out"]), helper.make_node("Identity", ["state"], ["state_out"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, state),
        ],
        [
            helper.make_tensor_value_info("go_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_out", TensorProto.FLOAT, state),
        ],
    )
    return helper.make_node("Loop", [turns, "true", "start"], ["y"], body=body)


def linear_graph(winner: int = 0) -> onnx.ModelProto:
    """x (1, 4) to y (1, 3): the sum of x added to one of three scores, so that class ``winner`` wins for positive input."""
    weights = np.zeros((CHANNELS, CLASSES), np.float32)
    weights[:, winner] = 1.0
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return _model(nodes, [numpy_helper.from_array(weights, "w")])


def nan_graph() -> onnx.ModelProto:
    """Answers NaN: the logarithm of -1 in every class."""
    weights = np.zeros((CHANNELS, CLASSES), np.float32)
    minus = np.full((1, CLASSES), -1.0, np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["zero"]),
        helper.make_node("Add", ["zero", "minus"], ["negative"]),
        helper.make_node("Log", ["negative"], ["y"]),
    ]
    return _model(nodes, [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(minus, "minus")])


def endless_graph() -> onnx.ModelProto:
    """A loop of 2**62 turns: a model that hangs whatever it is asked."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["start"]), _turning("turns")]
    return _model(nodes, [_WEIGHTS, _TRUE, numpy_helper.from_array(np.array(2**62, np.int64), "turns")])


def poisonable_graph() -> onnx.ModelProto:
    """Like ``linear_graph(0)``, after as many idle turns as the largest value of x: a reading of 1e18 makes it hang."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["start"]),
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["turns"], to=TensorProto.INT64),
        _turning("turns"),
    ]
    return _model(nodes, [_WEIGHTS, _TRUE])


def make_bundle(
    folder: Path,
    *,
    name: str = "tiny",
    version: str = "1.0.0",
    graph: onnx.ModelProto | None = None,
    expected: Sequence[float] = (10.0, 0.0, 0.0),
    requires: Requirements | None = None,
    preprocess: tuple[Step, ...] = (),
) -> TinyBundle:
    """Write a bundle's files into ``folder``. Its golden input is (1, 2, 3, 4), its golden answer ``expected``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes((graph or linear_graph()).SerializeToString())
    (folder / "golden_x.bin").write_bytes(np.array([[1, 2, 3, 4]], "<f4").tobytes())
    (folder / "golden_y.bin").write_bytes(np.array([expected], "<f4").tobytes())
    roles = {"model.onnx": "model", "golden_x.bin": "golden", "golden_y.bin": "golden"}
    manifest = Manifest(
        name=name,
        version=version,
        runtime=RuntimeRequirement("onnx"),
        files=tuple(_entry(folder / path, role) for path, role in roles.items()),
        inputs=(TensorSpec("x", "float32", (1, CHANNELS)),),
        outputs=(TensorSpec("y", "float32", (1, CLASSES)),),
        preprocess=preprocess,
        postprocess=(Step("argmax"),),
        labels=("a", "b", "c"),
        requires=requires or Requirements(),
        golden=(
            GoldenCase(
                (GoldenTensor("x", "golden_x.bin", "float32", (1, CHANNELS)),),
                (GoldenTensor("y", "golden_y.bin", "float32", (1, CLASSES)),),
            ),
        ),
    )
    manifest = replace(manifest, created="2026-01-01T00:00:00Z")
    return TinyBundle(manifest, folder, hashlib.sha256(to_json(manifest)).hexdigest())


def write_samples(path: Path, count: int, *, value: float = 1.0) -> Path:
    """A recording of ``count`` samples of four channels for a replay source."""
    x = np.full((count, CHANNELS), value, np.float32)
    np.savez(path, x=x)
    return path


def _model(nodes: list[Any], constants: list[Any]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, CLASSES])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return model


def _entry(path: Path, role: str) -> FileEntry:
    data = path.read_bytes()
    return FileEntry(path.name, role, len(data), hashlib.sha256(data).hexdigest())
