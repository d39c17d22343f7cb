"""A TensorFlow Lite file as plain values. Nothing in it is trusted: every index, count and size is checked before it is used.

Read through the accessors of the schema, one field at a time: its object classes would follow every offset of a damaged file first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from converters.targets.flatbuffer import schema

MAX_ENTRIES = 1 << 16
"""Tensors or operators of one file; real ones have thousands."""
MAX_RANK = 8
_KINDS = MappingProxyType(
    {
        "FLOAT32": "float32",
        "FLOAT16": "float16",
        "FLOAT64": "float64",
        "INT8": "int8",
        "UINT8": "uint8",
        "INT16": "int16",
        "UINT16": "uint16",
        "INT32": "int32",
        "UINT32": "uint32",
        "INT64": "int64",
        "UINT64": "uint64",
        "BOOL": "bool",
    }
)


class NotRead(Exception):
    """Why a file is not read as a network; it is packed as it is then."""


@dataclass(frozen=True, slots=True, eq=False)
class FlatTensor:
    """``dtype`` is numpy's word, or the schema's where numpy has none. ``data`` are the bytes of a constant, empty for a computed tensor.
    ``free`` tells for each dimension whether its size may change; ``scales`` and ``zero_points`` (along ``axis``) are empty for plain
    numbers. ``variable`` tensors keep a state; ``sparse`` ones leave zeros out."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    free: tuple[bool, ...]
    data: Any
    scales: Any
    zero_points: Any
    axis: int
    variable: bool
    sparse: bool

    @property
    def constant(self) -> bool:
        return len(self.data) > 0

    @property
    def quantized(self) -> bool:
        return len(self.scales) > 0


@dataclass(frozen=True, slots=True, eq=False)
class FlatOperator:
    """``code`` is the schema's word (``CONV_2D``); an absent input is -1; ``options`` the accessor of its table, if it has one."""

    code: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any

    def option(self, field: str, default: Any = None) -> Any:
        """A field of the options by its accessor's name; ``default`` where the operator has no options at all."""
        if self.options is None:
            if default is None:
                raise NotRead(f"operator {self.code} comes without its options")
            return default
        return getattr(self.options, field)()


@dataclass(frozen=True, slots=True, eq=False)
class FlatFile:
    """The one subgraph of a file. ``inputs`` and ``outputs`` are numbers of ``tensors``."""

    tensors: tuple[FlatTensor, ...]
    operators: tuple[FlatOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_file(data: bytes) -> FlatFile:
    """What is in ``data``. Raises :class:`NotRead` for a damaged file and for one with control flow."""
    try:
        return _read(data)
    except NotRead:
        raise
    except Exception as error:  # the accessors raise what a wrong offset leads to: struct.error, TypeError, ValueError, ...
        raise NotRead(f"the file is damaged ({type(error).__name__})") from None


def _read(data: bytes) -> FlatFile:
    words = schema()
    model = words.Model.GetRootAs(data, 0)
    if model.SubgraphsLength() != 1:
        raise NotRead(f"it has {model.SubgraphsLength()} subgraphs (control flow); one is read")
    graph = model.Subgraphs(0)
    _bounded("tensors", graph.TensorsLength())
    _bounded("operators", graph.OperatorsLength())
    _bounded("operator codes", model.OperatorCodesLength())
    _bounded("buffers", model.BuffersLength())
    count = graph.TensorsLength()
    codes = [_code(words, model.OperatorCodes(i)) for i in range(model.OperatorCodesLength())]
    tensors = tuple(_tensor(words, model, data, graph.Tensors(i)) for i in range(count))
    operators = tuple(_operator(words, codes, graph.Operators(i), count) for i in range(graph.OperatorsLength()))
    ends = [_indices(vector, count, "graph") for vector in (graph.InputsAsNumpy(), graph.OutputsAsNumpy())]
    if any(-1 in end for end in ends):
        raise NotRead("the file is damaged (an input or output that is no tensor)")
    return FlatFile(tensors, operators, ends[0], ends[1])


def _tensor(words: Any, model: Any, data: bytes, tensor: Any) -> FlatTensor:
    kind = _word(words.TensorType, tensor.Type())
    shape = tuple(int(size) for size in _vector(tensor.ShapeAsNumpy()))
    signature = tuple(int(size) for size in _vector(tensor.ShapeSignatureAsNumpy())) or shape
    if len(shape) > MAX_RANK or any(size < 0 for size in shape) or len(signature) != len(shape):
        raise NotRead("the file is damaged (a tensor's shape)")
    scales, zero_points, axis = _quantization(tensor.Quantization())
    return FlatTensor(
        name=(tensor.Name() or b"").decode("utf-8"),
        dtype=_KINDS.get(kind, kind),
        shape=shape,
        free=tuple(size < 0 for size in signature),
        data=_buffer(model, data, tensor.Buffer()),
        scales=scales,
        zero_points=zero_points,
        axis=axis,
        variable=bool(tensor.IsVariable()),
        sparse=tensor.Sparsity() is not None,
    )


def _quantization(held: Any) -> tuple[Any, Any, int]:
    if held is None:
        return (), (), 0
    scales, zero_points = _vector(held.ScaleAsNumpy()), _vector(held.ZeroPointAsNumpy())
    if len(scales) > 1 and len(zero_points) == 1:
        zero_points = np.repeat(zero_points, len(scales))
    if len(zero_points) not in (0, len(scales)):
        raise NotRead("the file is damaged (scales and zero points do not match)")
    return scales, zero_points if len(zero_points) else np.zeros(len(scales), np.int64), int(held.QuantizedDimension())


def _buffer(model: Any, data: bytes, index: int) -> Any:
    if not index:  # the empty one, by convention; files without constants leave it out
        return b""
    if index >= model.BuffersLength():
        raise NotRead("the file is damaged (a tensor's values are not in it)")
    buffer = model.Buffers(index)
    if buffer.Offset() > 1:  # values of files beyond 2 GiB lie behind the flatbuffer
        return memoryview(data)[buffer.Offset() : buffer.Offset() + buffer.Size()]
    held = buffer.DataAsNumpy()
    return b"" if isinstance(held, int) else memoryview(held)


def _operator(words: Any, codes: Sequence[str], operator: Any, tensors: int) -> FlatOperator:
    inputs = _indices(operator.InputsAsNumpy(), tensors, "operator")
    outputs = _indices(operator.OutputsAsNumpy(), tensors, "operator")
    kind, table, options = operator.BuiltinOptionsType(), operator.BuiltinOptions(), None
    if kind and table is not None:
        options = getattr(words, _word(words.BuiltinOptions, kind))()
        options.Init(table.Bytes, table.Pos)
    return FlatOperator(codes[operator.OpcodeIndex()], inputs, outputs, options)


def _code(words: Any, code: Any) -> str:
    """Files before schema 3a have the deprecated field only, later ones the larger of the two (schema.fbs, OperatorCode)."""
    word = _word(words.BuiltinOperator, max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
    return f"CUSTOM {(code.CustomCode() or b'?').decode('utf-8', 'replace')}" if word == "CUSTOM" else word


def _word(enumeration: Any, number: int) -> str:
    for word, value in vars(enumeration).items():
        if value == number and not word.startswith("_"):
            return str(word)
    raise NotRead(f"it uses something newer than this version knows (number {number} of {enumeration.__name__})")


def _indices(vector: Any, tensors: int, whose: str) -> tuple[int, ...]:
    found = tuple(int(index) for index in _bounded("inputs and outputs", _vector(vector)))
    if any(not -1 <= index < tensors for index in found):
        raise NotRead(f"the file is damaged (an {whose} input or output that is no tensor)")
    return found


def _vector(vector: Any) -> Any:
    """The accessors give the number 0 for a vector that is absent."""
    return () if isinstance(vector, int) else vector


def _bounded(what: str, held: Any) -> Any:
    count = held if isinstance(held, int) else len(held)
    if count > MAX_ENTRIES:
        raise NotRead(f"it has {count} {what}; at most {MAX_ENTRIES} are read")
    return held
