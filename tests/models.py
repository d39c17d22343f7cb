"""Tiny real models and whole bundles made in code, for every test that needs one.

Both models compute the same: y = softmax(x · W + b) over four inputs and three classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.bundle.archive import write_bundle
from edge_agent.bundle.golden import tensor_bytes
from edge_agent.bundle.manifest import FileEntry, GoldenCase, GoldenTensor, Manifest, Requirements, RuntimeRequirement, Step
from edge_agent.values import TensorSpec

CHANNELS = 4
LABELS = ("low", "middle", "high")
INPUT = "x"
OUTPUT = "y"
INPUT_SCALE, INPUT_ZERO = 1 / 32, 0
OUTPUT_SCALE, OUTPUT_ZERO = 1 / 256, -128


def tiny_weights(seed: int = 1) -> tuple[Any, Any]:
    """``W`` (4, 3) and ``b`` (3,), float32."""
    random = np.random.default_rng(seed)
    return random.normal(0, 1, (CHANNELS, len(LABELS))).astype(np.float32), random.normal(0, 0.1, len(LABELS)).astype(np.float32)


def tiny_answer(x: Any, seed: int = 1) -> Any:
    """What the float models must answer to ``x`` (n, 4), float64."""
    weights, bias = tiny_weights(seed)
    logits = np.asarray(x, np.float64) @ weights.astype(np.float64) + bias
    power = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return power / power.sum(axis=-1, keepdims=True)


def tiny_onnx(path: Path, *, seed: int = 1, batch: int | str = 1) -> Path:
    """A float ONNX model at ``path``; ``batch`` as text makes the first dimension free."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    weights, bias = tiny_weights(seed)
    graph = helper.make_graph(
        [helper.make_node("Gemm", [INPUT, "w", "b"], ["logits"]), helper.make_node("Softmax", ["logits"], [OUTPUT], axis=1)],
        "tiny",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [batch, CHANNELS])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [batch, len(LABELS)])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    checker.check_model(model)
    save(model, str(path))
    return path


def tiny_tflite(path: Path, *, seed: int = 1, int8: bool = False, free_batch: bool = False) -> Path:
    """A float or int8 TensorFlow Lite model at ``path``: FULLY_CONNECTED, SOFTMAX."""
    weights, bias = tiny_weights(seed)
    path.write_bytes(_TfliteWriter(int8, free_batch).model(weights.T, bias))
    return path


class _TfliteWriter:
    """Builds the flatbuffer from the schema's object classes."""

    def __init__(self, int8: bool, free_batch: bool) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._s = schema
        self._int8 = int8
        self._free = free_batch
        self._model = schema.ModelT()
        self._graph = schema.SubGraphT()
        self._model.version, self._model.buffers, self._model.operatorCodes = 3, [schema.BufferT()], []
        self._graph.tensors, self._graph.operators, self._graph.name = [], [], "main"

    def model(self, weights: Any, bias: Any) -> bytes:
        import flatbuffers

        s = self._s
        x = self._activation(INPUT, CHANNELS, INPUT_SCALE, INPUT_ZERO)
        logits = self._activation("logits", len(LABELS), 16 / 256, 0)
        y = self._activation(OUTPUT, len(LABELS), OUTPUT_SCALE, OUTPUT_ZERO)
        w, b = self._parameters(weights, bias)
        self._operator(
            s.BuiltinOperator.FULLY_CONNECTED, [x, w, b], [logits], s.BuiltinOptions.FullyConnectedOptions, s.FullyConnectedOptionsT()
        )
        softmax = s.SoftmaxOptionsT()
        softmax.beta = 1.0
        self._operator(s.BuiltinOperator.SOFTMAX, [logits], [y], s.BuiltinOptions.SoftmaxOptions, softmax)
        self._graph.inputs, self._graph.outputs = [x], [y]
        self._model.subgraphs = [self._graph]
        builder = flatbuffers.Builder(4096)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _parameters(self, weights: Any, bias: Any) -> tuple[int, int]:
        if not self._int8:
            return self._tensor("w", weights.shape, weights), self._tensor("b", bias.shape, bias)
        scale = float(np.abs(weights).max() / 127)
        stored = np.round(weights / scale).astype(np.int8)
        offset = np.round(bias / (scale * INPUT_SCALE)).astype(np.int32)
        return self._tensor("w", weights.shape, stored, (scale, 0)), self._tensor("b", bias.shape, offset, (scale * INPUT_SCALE, 0))

    def _activation(self, name: str, width: int, scale: float, zero: int) -> int:
        kind = np.int8 if self._int8 else np.float32
        index = self._tensor(name, (1, width), None, (scale, zero) if self._int8 else None, np.dtype(kind).name)
        if self._free:
            self._graph.tensors[index].shapeSignature = [-1, width]
        return index

    def _tensor(
        self, name: str, shape: Sequence[int], data: Any = None, quantization: tuple[float, int] | None = None, dtype: str = "float32"
    ) -> int:
        s = self._s
        tensor = s.TensorT()
        tensor.name, tensor.shape, tensor.hasRank, tensor.buffer = name, list(shape), True, 0
        if data is not None:
            buffer = s.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self._model.buffers.append(buffer)
            tensor.buffer, dtype = len(self._model.buffers) - 1, data.dtype.name
        tensor.type = {"float32": s.TensorType.FLOAT32, "int8": s.TensorType.INT8, "int32": s.TensorType.INT32}[dtype]
        if quantization is not None:
            tensor.quantization = s.QuantizationParametersT()
            tensor.quantization.scale = np.array([quantization[0]], np.float32)
            tensor.quantization.zeroPoint = np.array([quantization[1]], np.int64)
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _operator(self, code: int, inputs: list[int], outputs: list[int], options_type: int, options: Any) -> None:
        s = self._s
        entry = s.OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = code
        entry.version = {True: 4 if code == s.BuiltinOperator.FULLY_CONNECTED else 2, False: 1}[self._int8]
        self._model.operatorCodes.append(entry)
        operator = s.OperatorT()
        operator.opcodeIndex = len(self._model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, outputs
        operator.builtinOptionsType, operator.builtinOptions = options_type, options
        self._graph.operators.append(operator)


@dataclass(frozen=True)
class TinyBundle:
    """A bundle that was written: where, its digest, and what is in it."""

    path: Path
    digest: str
    manifest: Manifest
    files: Mapping[str, bytes]


def entry_of(path: str, role: str, content: bytes) -> FileEntry:
    """The manifest's line for ``content``."""
    return FileEntry(path, role, len(content), hashlib.sha256(content).hexdigest())


def tiny_bundle(
    path: Path,
    *,
    name: str = "tiny",
    version: str = "1",
    runtime: str = "onnx",
    wrong: bool = False,
    cases: int = 2,
    seed: int = 1,
    int8: bool = False,
    requires: Requirements | None = None,
    minimum: str = "",
) -> TinyBundle:
    """A complete valid bundle with ``cases`` golden cases. With ``wrong`` the golden answers are not what the model gives, as if the model
    had been spoilt on its way: hashes hold, the proof on the device fails. ``int8`` needs runtime tflite."""
    model_path = path.with_name(f".{path.name}.model")
    make = tiny_onnx(model_path, seed=seed) if runtime == "onnx" else tiny_tflite(model_path, seed=seed, int8=int8)
    files = {f"model.{runtime}": make.read_bytes()}
    model_path.unlink()
    dtype = "int8" if int8 else "float32"
    golden = tuple(_golden_case(files, index, seed, dtype, wrong) for index in range(cases))
    quantized = (
        {INPUT: (INPUT_SCALE, INPUT_ZERO), OUTPUT: (OUTPUT_SCALE, OUTPUT_ZERO)} if int8 else {INPUT: (None, None), OUTPUT: (None, None)}
    )
    manifest = Manifest(
        name=name,
        version=version,
        runtime=RuntimeRequirement(runtime, minimum),
        files=(
            entry_of(f"model.{runtime}", "model", files[f"model.{runtime}"]),
            *(entry_of(file, "golden", content) for file, content in files.items() if file.startswith("golden/")),
        ),
        inputs=(TensorSpec(INPUT, dtype, (1, CHANNELS), *quantized[INPUT]),),
        outputs=(TensorSpec(OUTPUT, dtype, (1, len(LABELS)), *quantized[OUTPUT]),),
        postprocess=(Step("argmax"),),
        labels=LABELS,
        requires=requires or Requirements(),
        golden=golden,
        created="2026-01-01T00:00:00Z",
    )
    return TinyBundle(path, write_bundle(path, manifest, files), manifest, files)


def _golden_case(files: dict[str, bytes], index: int, seed: int, dtype: str, wrong: bool) -> GoldenCase:
    """Adds one case's files and returns its description."""
    x = np.random.default_rng(100 + index).uniform(-3, 3, (1, CHANNELS)).astype(np.float32)
    if dtype == "int8":
        x = np.clip(np.rint(x / INPUT_SCALE) + INPUT_ZERO, -128, 127).astype(np.int8)
        y = tiny_answer((x.astype(np.float64) - INPUT_ZERO) * INPUT_SCALE, seed)
        y = np.clip(np.rint(y / OUTPUT_SCALE) + OUTPUT_ZERO, -128, 127).astype(np.int8)
    else:
        y = tiny_answer(x, seed).astype(np.float32)
    if wrong:
        y = np.roll(y, 1, axis=1)
    names = {INPUT: f"golden/{index}-{INPUT}.bin", OUTPUT: f"golden/{index}-{OUTPUT}.bin"}
    files[names[INPUT]], files[names[OUTPUT]] = tensor_bytes(x), tensor_bytes(y)
    return GoldenCase(
        (GoldenTensor(INPUT, names[INPUT], dtype, x.shape),),
        (GoldenTensor(OUTPUT, names[OUTPUT], dtype, y.shape),),
        atol=10.0 if dtype == "int8" else 1e-4,
        rtol=0.0 if dtype == "int8" else 1e-4,
    )


def with_files(manifest: Manifest, files: Mapping[str, bytes]) -> Manifest:
    """``manifest`` with sizes and hashes of ``files`` put in, roles kept."""
    entries = tuple(entry_of(entry.path, entry.role, files[entry.path]) for entry in manifest.files)
    return replace(manifest, files=entries)
