"""ONNX files: one file, or one with its weights in files beside it. The input is only ever read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError, EncodeError

from converters.errors import InputError
from converters.given import read_given
from converters.loaders.onnx_ends import settle_ends
from converters.model import ONNX_DOMAINS, Source, graph_of, tensors_of

MIN_OPSET = 9
MAX_BYTES = (1 << 31) - 1  # protobuf's own limit for one message


def load_onnx(path: Path, data: bytes) -> Source:
    """The model in ``data``, read from ``path``; weights kept beside it are taken in. Raises :class:`InputError`."""
    proto = _parse(path, data)
    digest = hashlib.sha256(data)
    outside = _outside_files(path, proto)
    size_bytes = len(data) + sum(file.stat().st_size for file in outside)
    if size_bytes > MAX_BYTES:
        raise InputError(f"{path}: {size_bytes} bytes with its weights; models of 2 GiB and more cannot be converted")
    for file in outside:
        digest.update(read_given(file, max_bytes=MAX_BYTES))
    if outside:
        _take_in(path, proto)
        data = bytes(proto.SerializeToString(deterministic=True))
    _check_opset(path, proto)
    proto = _inlined(path, proto)
    data, notes = settle_ends(path, proto, data)
    _check(path, proto)
    try:
        graph = graph_of(proto)
    except Exception as error:  # reading a tensor whose bytes, shape and type do not agree raises many kinds
        raise InputError(f"{path}: not a valid ONNX model: {_first_line(error)}") from None
    return Source(path, "onnx", data, digest.hexdigest(), size_bytes, graph, notes=notes)


def _parse(path: Path, data: bytes) -> Any:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
        proto.SerializeToString()
    except (DecodeError, EncodeError):
        raise InputError(f"{path}: not an ONNX model (it is no protobuf message, or is cut short)") from None
    _check_text(path, proto)
    if not proto.graph.node or not proto.graph.output or not proto.opset_import:
        raise InputError(f"{path}: not an ONNX model (it has no graph, outputs or operator-set version)")
    return proto


def _outside_files(path: Path, proto: Any) -> list[Path]:
    """The files beside ``path`` that hold weights. Raises InputError for one that is missing or lies elsewhere."""
    names = set()
    for tensor in tensors_of(proto.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            names |= {entry.value for entry in tensor.external_data if entry.key == "location"}
    files = []
    folder = path.parent.resolve()
    for name in sorted(names):
        outside = (folder / name.replace("\0", "?")).resolve()
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


def _check_opset(path: Path, proto: Any) -> None:
    opset = max((entry.version for entry in proto.opset_import if entry.domain in ONNX_DOMAINS), default=0)
    if opset and opset < MIN_OPSET:
        raise InputError(f"{path}: uses operator set {opset}; export it again with {MIN_OPSET} or newer")
    if opset > onnx.defs.onnx_opset_version():
        newest = f"onnx {onnx.__version__} knows up to {onnx.defs.onnx_opset_version()}"
        raise InputError(f"{path}: uses operator set {opset} and {newest}; export it with that, or install a newer onnx")


def _check(path: Path, proto: Any) -> None:
    try:
        onnx.checker.check_model(proto)
    except Exception as error:  # ValidationError, and others from native code
        raise InputError(f"{path}: not a valid ONNX model: {_first_line(error)}") from None


def _inlined(path: Path, proto: Any) -> Any:
    """Operators that are functions inside the model become the nodes they stand for."""
    if not proto.functions:
        return proto
    try:
        return onnx.inliner.inline_local_functions(proto)
    except Exception as error:  # native code raises many kinds
        raise InputError(f"{path}: a function inside the model cannot be put in place ({_first_line(error)})") from None


def _check_text(path: Path, message: Any) -> None:
    """Raises InputError for text that is not UTF-8, which the protobuf library gives as bytes: names are compared and shown as text."""
    for field, value in message.ListFields():
        values = value if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else [value]
        if field.type == field.TYPE_STRING and any(isinstance(text, bytes) for text in values):
            raise InputError(f"{path}: not an ONNX model (its field {field.full_name} is not text)")
        if field.type == field.TYPE_MESSAGE:
            for inner in values:
                _check_text(path, inner)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
