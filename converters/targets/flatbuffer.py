"""Writing TensorFlow Lite files. The one module that knows the schema classes and the flatbuffer library.

The classes are generated from TensorFlow Lite's ``schema.fbs`` and ship with the LiteRT runtime.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from converters.targets.scales import Scale
from edge_agent.errors import RuntimeMissing

TYPES = MappingProxyType({name: name.upper() for name in ("float32", "float16", "int8", "int16", "int32", "int64", "uint8", "bool")})
"""TensorFlow Lite's word for each element type that can be written."""

_BIGGEST_OLD_CODE = 127  # older readers look at an 8-bit operator code


def schema() -> Any:
    """The generated classes. Raises :class:`RuntimeMissing` when LiteRT is not installed."""
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError:
        raise RuntimeMissing("writing TensorFlow Lite files needs ai-edge-litert: pip install 'edge-runtime[convert]'") from None
    return schema_py_generated


class FlatModel:
    """A model being written: tensors and operators of its one subgraph, referred to by number."""

    def __init__(self) -> None:
        self._s = schema()
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._buffers: list[Any] = [self._s.BufferT()]  # buffer 0 is the empty one
        self._shared: dict[bytes, int] = {}
        self._constants: dict[tuple[Any, ...], int] = {}
        self._codes: dict[tuple[str, int], int] = {}
        self._code_tables: list[Any] = []

    def tensor(self, name: str, shape: Sequence[int], dtype: str, quantization: Scale | None = None) -> int:
        """A tensor computed at run time."""
        made = self._s.TensorT()
        made.name, made.shape, made.buffer = name, np.asarray(shape, np.int32), 0
        made.type = getattr(self._s.TensorType, TYPES[dtype])
        if quantization is not None:
            made.quantization = self._quantization([quantization.scale], [quantization.zero_point], 0)
        self._tensors.append(made)
        return len(self._tensors) - 1

    def constant(self, name: str, array: Any, scales: Any = None, axis: int = 0, zero_point: int = 0) -> int:
        """A tensor with its values in the file; ``scales`` quantize it along ``axis``, one scale or one for each index.

        Equal ones, such as the weights of every step of a recurrent layer, are one tensor."""
        described = [np.ascontiguousarray(array).tobytes(), b"" if scales is None else np.asarray(scales, np.float32).tobytes()]
        key = (str(array.dtype), array.shape, axis, zero_point, *(hashlib.sha256(part).digest() for part in described))
        if key not in self._constants:
            self._constants[key] = self._constant(name, array, scales, axis, zero_point)
        return self._constants[key]

    def _constant(self, name: str, array: Any, scales: Any, axis: int, zero_point: int) -> int:
        index = self.tensor(name, array.shape, str(array.dtype))
        made = self._tensors[index]
        made.buffer = self._buffer(np.ascontiguousarray(array).tobytes())
        if scales is not None:
            made.quantization = self._quantization(scales, [zero_point] * len(scales), axis)
        return index

    def rename(self, tensor: int, name: str) -> None:
        self._tensors[tensor].name = name

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(int(size) for size in self._tensors[tensor].shape)

    def has(self, code: str) -> bool:
        """Whether an operator ``code`` has been written."""
        return any(known == code for known, _ in self._codes)

    def operator(
        self,
        code: str,
        inputs: Sequence[int],
        output: int | Sequence[int],
        options: str = "",
        values: Mapping[str, Any] | None = None,
        *,
        version: int = 1,
    ) -> None:
        """One operator with one output or several; ``options`` names its options table (without ``T``), ``values`` the fields of it."""
        made = self._s.OperatorT()
        made.opcodeIndex = self._code(code, version)
        made.inputs = np.asarray(inputs, np.int32)
        made.outputs = np.asarray([output] if isinstance(output, int) else output, np.int32)
        if options:
            made.builtinOptionsType = getattr(self._s.BuiltinOptions, options)
            made.builtinOptions = getattr(self._s, f"{options}T")()
            for key, value in (values or {}).items():
                setattr(made.builtinOptions, key, value)
        self._operators.append(made)

    def codes_at_ends(self, inputs: Sequence[int], outputs: Sequence[int]) -> tuple[list[int], list[int]]:
        """Inputs and outputs without the conversions at the ends: what is quantized first is taken in codes, what is made real last is
        given in codes, under the names of the real tensors. Others stay as they are."""
        readers: dict[int, list[Any]] = {}
        for made in self._read(outputs):
            for index in made.inputs.tolist():
                readers.setdefault(index, []).append(made)
        writers = {index: made for made in self._operators for index in made.outputs.tolist()}
        first = [self._past(index, readers.get(index, []), "QUANTIZE", "outputs") for index in inputs]
        last = [self._past(index, [writers[index]] if index in writers else [], "DEQUANTIZE", "inputs") for index in outputs]
        return first, last

    def _past(self, index: int, beside: Sequence[Any], code: str, side: str) -> int:
        """The tensor on the other ``side`` of the only operator ``beside`` tensor ``index``, if that is a ``code``."""
        wanted = getattr(self._s.BuiltinOperator, code)
        if len(beside) != 1 or self._code_tables[beside[0].opcodeIndex].builtinCode != wanted:
            return index
        other = int(getattr(beside[0], side)[0])
        self._tensors[other].name, self._tensors[index].name = self._tensors[index].name, f"{self._tensors[index].name}/real"
        return other

    def finish(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file."""
        import flatbuffers

        graph = self._s.SubGraphT()
        graph.name, graph.tensors, graph.operators = "main", self._tensors, self._read(outputs, inputs)
        graph.inputs, graph.outputs = np.asarray(inputs, np.int32), np.asarray(outputs, np.int32)
        model = self._s.ModelT()
        model.version, model.description = 3, "edge-convert"
        model.subgraphs, model.operatorCodes, model.buffers = [graph], self._code_tables, self._buffers
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _read(self, outputs: Sequence[int], inputs: Sequence[int] = ()) -> list[Any]:
        """The operators between ``inputs`` and ``outputs`` that something reads: what another one made needless is left out."""
        wanted, kept = set(outputs), []
        for made in reversed(self._operators):
            written = set(made.outputs.tolist())
            if wanted.intersection(written) and not written.intersection(inputs):
                wanted.update(made.inputs.tolist())
                kept.append(made)
        return kept[::-1]

    def _buffer(self, data: bytes) -> int:
        """The buffer with these bytes; constants that differ in shape or scale alone share one."""
        digest = hashlib.sha256(data).digest()
        if digest not in self._shared:
            buffer = self._s.BufferT()
            buffer.data = np.frombuffer(data, np.uint8)
            self._buffers.append(buffer)
            self._shared[digest] = len(self._buffers) - 1
        return self._shared[digest]

    def _code(self, code: str, version: int) -> int:
        key = (code, version)
        if key not in self._codes:
            table = self._s.OperatorCodeT()
            table.builtinCode = getattr(self._s.BuiltinOperator, code)
            table.deprecatedBuiltinCode = min(table.builtinCode, _BIGGEST_OLD_CODE)
            table.version = version
            self._code_tables.append(table)
            self._codes[key] = len(self._code_tables) - 1
        return self._codes[key]

    def _quantization(self, scales: Any, zero_points: Any, axis: int) -> Any:
        made = self._s.QuantizationParametersT()
        made.scale, made.zeroPoint = np.asarray(scales, np.float32), np.asarray(zero_points, np.int64)
        made.quantizedDimension = axis
        return made
