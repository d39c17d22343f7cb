"""Inputs and outputs of an ONNX model: only tensors of numbers can be fed and given on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from converters.errors import InputError
from converters.model import attributes
from edge_agent.values import DTYPES

_WORDS = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
_NUMBERS = frozenset(int(helper.np_dtype_to_tensor_dtype(np.dtype(name))) for name in DTYPES)


def settle_ends(path: Path, proto: Any, data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Leaves only outputs that are tensors of numbers in ``proto``, with the shapes they have. Gives the file that a runtime can load for
    ``proto`` (``data``, unless more than the list of outputs had to change), and notes on what was left out.

    Raises :class:`InputError` for an input that cannot be fed, for a name given twice, and where no output is left or its number of
    dimensions is unknown.
    """
    for kind, values in (("inputs", proto.graph.input), ("outputs", proto.graph.output)):
        names = [value.name for value in values]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{path}: two of its {kind} are called {twice}; a device tells them apart by name")
    stored = {tensor.name for tensor in proto.graph.initializer}
    for value in proto.graph.input:
        if value.name not in stored:
            _check_input(path, value)
    unzipped = _unzip(proto)
    if unzipped:
        data = bytes(proto.SerializeToString(deterministic=True))
    notes = (*unzipped, *_leave_out(path, proto))
    if not all(value.type.tensor_type.HasField("shape") for value in proto.graph.output):
        _infer(path, proto)
    return data, notes


def _check_input(path: Path, value: Any) -> None:
    if not value.type.HasField("tensor_type"):
        raise InputError(f"{path}: input {value.name} is not a tensor; only tensors can be fed on a device")
    if value.type.tensor_type.elem_type not in _NUMBERS:
        raise InputError(f"{path}: input {value.name} is {_kind(value)}; a device can feed {', '.join(DTYPES)}")
    if not value.type.tensor_type.HasField("shape"):
        raise InputError(f"{path}: input {value.name} has no shape; export the model with it declared (sizes may stay free)")


def _unzip(proto: Any) -> tuple[str, ...]:
    """A classifier's scores as a table again, where the exporter made one dictionary a row of them (skl2onnx's option zipmap)."""
    maps = {node.output[0]: node for node in proto.graph.node if node.op_type == "ZipMap" and node.domain == "ai.onnx.ml" and node.output}
    notes = []
    for value in proto.graph.output:
        node = maps.get(value.name)
        if node is None or value.type.WhichOneof("value") != "sequence_type" or len(node.input) != 1:
            continue
        options = attributes(node)
        classes = len(options.get("classlabels_strings") or options.get("classlabels_int64s") or ())
        node.CopyFrom(helper.make_node("Identity", list(node.input), [value.name], node.name))
        value.CopyFrom(helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, [None, classes or None]))
        notes.append(f"output {value.name} is the table of scores itself, not one dictionary a row: a device gives tensors of numbers")
    return tuple(notes)


def _leave_out(path: Path, proto: Any) -> tuple[str, ...]:
    """The runtime on the device leaves what is no tensor of numbers uncomputed too (a classifier's text label beside its scores)."""
    kept = [value for value in proto.graph.output if value.type.tensor_type.elem_type in _NUMBERS]
    gone = [f"{value.name} ({_kind(value)})" for value in proto.graph.output if value.type.tensor_type.elem_type not in _NUMBERS]
    if not kept:
        raise InputError(f"{path}: a device can give only tensors of numbers, and its outputs are {', '.join(gone)}")
    if not gone:
        return ()
    del proto.graph.output[:]
    proto.graph.output.extend(kept)
    return (f"outputs {', '.join(gone)} are left out: a device gives tensors of numbers",)


def _infer(path: Path, proto: Any) -> None:
    """Fills in output shapes that the file leaves to the reader."""
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except Exception as error:  # InferenceError, and others from native code
        raise InputError(f"{path}: the shapes of its tensors contradict each other: {str(error).splitlines()[0][:300]}") from None
    for value, found in zip(proto.graph.output, inferred.graph.output, strict=True):
        if not value.type.tensor_type.HasField("shape"):
            if not found.type.tensor_type.HasField("shape"):
                raise InputError(
                    f"{path}: output {value.name} has no shape, and none follows from its operators; export it with one declared"
                )
            value.type.CopyFrom(found.type)


def _kind(value: Any) -> str:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return str(kind or "untyped").removesuffix("_type")
    return _WORDS.get(value.type.tensor_type.elem_type, "of no known type")
