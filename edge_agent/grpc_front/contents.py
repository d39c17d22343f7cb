"""Typed contents of tensors (``fp32_contents`` and the like) to bytes, without numpy."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.grpc_front.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Typed:
    """Where values of a datatype are, and how :mod:`array` calls them."""

    field: str
    letter: str


_TYPED: Mapping[str, Typed] = {
    "BOOL": Typed("bool_contents", "B"),
    "INT8": Typed("int_contents", "b"),
    "INT16": Typed("int_contents", "h"),
    "INT32": Typed("int_contents", "i"),
    "INT64": Typed("int64_contents", "q"),
    "UINT8": Typed("uint_contents", "B"),
    "UINT16": Typed("uint_contents", "H"),
    "UINT32": Typed("uint_contents", "I"),
    "UINT64": Typed("uint64_contents", "Q"),
    "FP32": Typed("fp32_contents", "f"),
    "FP64": Typed("fp64_contents", "d"),
}
_FIELDS = tuple(dict.fromkeys(typed.field for typed in _TYPED.values()))


def packed_contents(tensor: Any) -> bytes:
    """The values of an InferInputTensor, little endian. Raises Refusal naming what does not fit.

    Datatypes without numbers give nothing: the API says itself what it takes instead.
    """
    name, datatype, contents = tensor.name, tensor.datatype, tensor.contents
    typed = _TYPED.get(datatype)
    used = [field for field in _FIELDS if getattr(contents, field)]
    if typed is None:
        if used and datatype == "FP16":
            raise Refusal("INVALID_ARGUMENT", f"input {name}: FP16 has no typed contents in this protocol, send raw_input_contents")
        return b""
    if used not in ([], [typed.field]):
        raise Refusal("INVALID_ARGUMENT", f"input {name}: {datatype} belongs in {typed.field}, {' and '.join(used)} has values")
    try:
        values = array(typed.letter, getattr(contents, typed.field))
    except OverflowError:
        raise Refusal("INVALID_ARGUMENT", f"input {name}: a value does not fit {datatype}") from None
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()
