"""Where an ONNX file's weights lie when it is packed: inside it, or beside it in a file that runtimes map instead of copying.

The file beside begins each tensor at a multiple of :data:`ALIGNMENT` (ONNX, docs/ExternalData.md: so that it can be mapped). The same
model gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, numpy_helper

WEIGHTS_NAME = "model.weights"
ALIGNMENT = 4096
MIN_TENSOR_BYTES = 16 * 1024
"""Smaller tensors stay inside: runtimes look into them before they run, and the gap behind each would be of their size."""
AUTO_BYTES = 1 << 20
"""What must be there to lie beside before that is worth a second file."""

_PLAIN = frozenset(
    {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT64, TensorProto.UINT32}
    | {TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16, TensorProto.BOOL, TensorProto.FLOAT16}
)
"""Types that may be written as numbers instead of bytes, and can be made bytes of."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelFiles:
    """A model as it is packed: its file and, where weights lie beside it, theirs by name."""

    model: bytes
    beside: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return len(self.model) + self.bytes_beside

    @property
    def bytes_beside(self) -> int:
        return sum(map(len, self.beside.values()))

    def write(self, path: Path) -> None:
        """The model to ``path``, the others into its folder."""
        path.write_bytes(self.model)
        for name, data in self.beside.items():
            (path.parent / name).write_bytes(data)


def placed(data: bytes, format: str, place: str) -> ModelFiles:
    """The model ``data``, all of it in one file, as ``place`` (inside, beside, auto) says. Only ONNX files are ever divided."""
    if format != "onnx" or place == "inside" or (place == "auto" and len(data) < AUTO_BYTES):
        return ModelFiles(data)
    proto = onnx.ModelProto.FromString(data)
    large = [(tensor, raw) for tensor in proto.graph.initializer if len(raw := _raw(tensor)) >= MIN_TENSOR_BYTES]
    if not large or (place == "auto" and sum(len(raw) for _, raw in large) < AUTO_BYTES):
        return ModelFiles(data)
    pieces: list[bytes] = []
    offset = 0
    for tensor, raw in large:
        gap = -offset % ALIGNMENT
        pieces += [bytes(gap), raw]
        _move_out(tensor, offset + gap, len(raw))
        offset += gap + len(raw)
    return ModelFiles(proto.SerializeToString(deterministic=True), {WEIGHTS_NAME: b"".join(pieces)})


def _raw(tensor: Any) -> bytes:
    """The bytes of a tensor that may lie outside; empty for one that may not."""
    if tensor.HasField("raw_data"):
        return bytes(tensor.raw_data)
    if tensor.data_type not in _PLAIN or tensor.data_location == TensorProto.EXTERNAL:
        return b""
    return bytes(numpy_helper.from_array(numpy_helper.to_array(tensor)).raw_data)


def _move_out(tensor: Any, offset: int, length: int) -> None:
    for kind in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        tensor.ClearField(kind)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", WEIGHTS_NAME), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
