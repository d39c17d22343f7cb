"""Models that give back what they get, in any element type and shape."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx
from onnx import helper

from benchmarks.tiny_model import TinyBundle
from edge_agent.bundle.manifest import FileEntry, Manifest, RuntimeRequirement, to_json
from edge_agent.values import TensorSpec

ELEMENTS = {
    "float32": onnx.TensorProto.FLOAT,
    "float16": onnx.TensorProto.FLOAT16,
    "float64": onnx.TensorProto.DOUBLE,
    "int8": onnx.TensorProto.INT8,
    "uint8": onnx.TensorProto.UINT8,
    "int16": onnx.TensorProto.INT16,
    "uint16": onnx.TensorProto.UINT16,
    "int32": onnx.TensorProto.INT32,
    "uint32": onnx.TensorProto.UINT32,
    "int64": onnx.TensorProto.INT64,
    "uint64": onnx.TensorProto.UINT64,
    "bool": onnx.TensorProto.BOOL,
}


def echo_bundle(folder: Path, name: str, *shapes: list[int | str], dtype: str = "float32", version: str = "1") -> TinyBundle:
    """Inputs a, b, ... of ``shapes`` (text is a free dimension) and outputs out_a, out_b, ... like them."""
    folder.mkdir(parents=True)
    names = [chr(ord("a") + index) for index in range(len(shapes))]
    element = ELEMENTS[dtype]
    graph = helper.make_graph(
        [helper.make_node("Identity", [n], [f"out_{n}"]) for n in names],
        "echo",
        [helper.make_tensor_value_info(n, element, shape) for n, shape in zip(names, shapes, strict=True)],
        [helper.make_tensor_value_info(f"out_{n}", element, shape) for n, shape in zip(names, shapes, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data = model.SerializeToString()
    (folder / "model.onnx").write_bytes(data)
    specs = [tuple(size if isinstance(size, int) else None for size in shape) for shape in shapes]
    manifest = Manifest(
        name=name,
        version=version,
        runtime=RuntimeRequirement("onnx"),
        files=(FileEntry("model.onnx", "model", len(data), hashlib.sha256(data).hexdigest()),),
        inputs=tuple(TensorSpec(n, dtype, spec) for n, spec in zip(names, specs, strict=True)),
        outputs=tuple(TensorSpec(f"out_{n}", dtype, spec) for n, spec in zip(names, specs, strict=True)),
    )
    return TinyBundle(manifest, folder, hashlib.sha256(to_json(manifest)).hexdigest())
