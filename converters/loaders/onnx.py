"""ONNX files: one file, or one with its weights in files beside it. The input is only ever read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from converters.errors import InputError
from converters.model import ONNX_DOMAINS, Source, graph_of

MIN_OPSET = 9
MAX_BYTES = (1 << 31) - 1  # protobuf's own limit for one message


def load_onnx(path: Path, data: bytes) -> Source:
    """The model in ``data``, read from ``path``; weights kept beside it are taken in. Raises :class:`InputError`."""
    proto = _parse(path, data)
    digest = hashlib.sha256(data)
    size_bytes = len(data)
    for outside in _outside_files(path, proto):
        content = outside.read_bytes()
        digest.update(content)
        size_bytes += len(content)
    if size_bytes > MAX_BYTES:
        raise InputError(f"{path}: {size_bytes} bytes with its weights; models of 2 GiB and more cannot be converted")
    if size_bytes != len(data):
        _take_in(path, proto)
        data = bytes(proto.SerializeToString(deterministic=True))
    _check(path, proto)
    return Source(path, "onnx", data, digest.hexdigest(), size_bytes, graph_of(proto))


def _parse(path: Path, data: bytes) -> Any:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError:
        raise InputError(f"{path}: not an ONNX model (it is no protobuf message, or is cut short)") from None
    if not proto.graph.node or not proto.graph.output or not proto.opset_import:
        raise InputError(f"{path}: not an ONNX model (it has no graph, outputs or operator-set version)")
    return proto


def _outside_files(path: Path, proto: Any) -> list[Path]:
    """The files beside ``path`` that hold weights. Raises InputError for one that is missing or lies elsewhere."""
    names = set()
    for tensor in proto.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            names |= {entry.value for entry in tensor.external_data if entry.key == "location"}
    files = []
    folder = path.parent.resolve()
    for name in sorted(names):
        outside = (folder / name).resolve()
        if folder not in outside.parents:
            raise InputError(f"{path}: keeps weights in {name!r}, outside its own folder; this is refused")
        if not outside.is_file():
            raise InputError(f"{path}: its weights are in {name!r}, which is not beside it; copy both files together")
        files.append(outside)
    return files


def _take_in(path: Path, proto: Any) -> None:
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
    except Exception as error:  # the library raises many kinds
        raise InputError(f"{path}: its outside weights cannot be read ({_first_line(error)})") from None


def _check(path: Path, proto: Any) -> None:
    opset = max((entry.version for entry in proto.opset_import if entry.domain in ONNX_DOMAINS), default=0)
    if opset and opset < MIN_OPSET:
        raise InputError(f"{path}: uses operator set {opset}; export it again with {MIN_OPSET} or newer")
    try:
        onnx.checker.check_model(proto)
    except Exception as error:  # ValidationError, and others from native code
        raise InputError(f"{path}: not a valid ONNX model: {_first_line(error)}") from None
    for value in proto.graph.input:
        if not value.type.HasField("tensor_type"):
            raise InputError(f"{path}: input {value.name} is not a tensor; only tensors can be fed on a device")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
