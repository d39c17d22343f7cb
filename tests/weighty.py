"""A model whose weights lie in a file beside it, and a whole bundle of it, written by hand with what ONNX itself offers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.bundle.archive import write_bundle
from edge_agent.bundle.golden import tensor_bytes
from edge_agent.bundle.manifest import FileEntry, GoldenCase, GoldenTensor, Manifest, RuntimeRequirement
from edge_agent.values import TensorSpec

WIDTH = 16


def beside_model(folder: Path, *, depth: int = 1024, seed: int = 1) -> tuple[bytes, bytes]:
    """y = x · w: the model's file and that of its weights, ``depth`` times 64 bytes, which it calls ``model.weights``."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    weights = weights_of(depth, seed)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "weighty",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, depth])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, WIDTH])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    checker.check_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    save(model, str(folder / "model.onnx"), save_as_external_data=True, location="model.weights", size_threshold=0)
    return (folder / "model.onnx").read_bytes(), (folder / "model.weights").read_bytes()


def weights_of(depth: int, seed: int = 1) -> Any:
    """``w`` (depth, 16), float32."""
    return np.random.default_rng(seed).normal(0, 1 / np.sqrt(depth), (depth, WIDTH)).astype(np.float32)


def beside_bundle(folder: Path, *, version: str = "1", depth: int = 1024, seed: int = 1) -> tuple[Path, Manifest, dict[str, bytes]]:
    """The bundle with one golden case: where it is, its manifest, its files."""
    model, weights = beside_model(folder / f"made-{version}", depth=depth, seed=seed)
    x = np.random.default_rng(2).normal(0, 1, (1, depth)).astype(np.float32)
    y = (x.astype(np.float64) @ weights_of(depth, seed).astype(np.float64)).astype(np.float32)
    files = {"model.onnx": model, "model.weights": weights, "golden/x.bin": tensor_bytes(x), "golden/y.bin": tensor_bytes(y)}
    roles = {"model.onnx": "model", "model.weights": "weights"}
    manifest = Manifest(
        name="weighty",
        version=version,
        runtime=RuntimeRequirement("onnx"),
        files=tuple(FileEntry(p, roles.get(p, "golden"), len(d), hashlib.sha256(d).hexdigest()) for p, d in files.items()),
        inputs=(TensorSpec("x", "float32", (1, depth)),),
        outputs=(TensorSpec("y", "float32", (1, WIDTH)),),
        golden=(
            GoldenCase(
                (GoldenTensor("x", "golden/x.bin", "float32", x.shape),), (GoldenTensor("y", "golden/y.bin", "float32", y.shape),), 1e-3
            ),
        ),
    )
    path = folder / f"weighty-{version}.edgemodel"
    write_bundle(path, manifest, files)
    return path, manifest, files
