"""Which tensors of an ONNX file lie outside it, and where: read from the protobuf itself, since no device has the onnx library.

Message and field numbers are those of onnx.proto (ONNX 1.20); the encoding is protobuf's (protobuf.dev/programming-guides/encoding).
Tensors are skipped over, not read: a file of any size costs what its nodes cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edge_agent.errors import BundleError

_CHILDREN: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "model": {7: "graph", 20: "training", 25: "function"},
        "training": {1: "graph", 2: "graph"},
        "function": {7: "node"},
        "graph": {1: "node", 5: "tensor", 15: "sparse"},
        "node": {5: "attribute"},
        "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
        "sparse": {1: "tensor", 2: "tensor"},
    }
)
"""By kind of message the fields in which tensors may lie, and the kind of each."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14
_KEY, _VALUE = 1, 2
_DAMAGED = "is not an ONNX model, or is damaged"

Span = tuple[int, int]
"""Where a field's content begins and ends."""


@dataclass(frozen=True, slots=True)
class Outside:
    """A tensor whose ``length`` bytes lie at ``offset`` of the file that it calls ``location``."""

    tensor: str
    location: str
    offset: int
    length: int


def outside_tensors(data: memoryview) -> Iterator[Outside]:
    """Every tensor of the ONNX file ``data`` that lies outside it, subgraphs, functions and attributes included. Raises
    :class:`BundleError` for what is no such file, and for a tensor that does not say clearly where it lies."""
    waiting = [("model", (0, len(data)))]
    while waiting:
        kind, span = waiting.pop()
        if kind == "tensor":
            yield from _tensor(data, span)
            continue
        children = _CHILDREN[kind]
        for number, wire, content in _fields(data, span):
            if wire == _BYTES and number in children:
                waiting.append((children[number], content))


def _tensor(data: memoryview, span: Span) -> Iterator[Outside]:
    name, outside, entries = "", False, {}
    for number, wire, content in _fields(data, span):
        if number == _NAME and wire == _BYTES:
            name = _text(data, content)
        elif number == _DATA_LOCATION and wire == _VARINT:
            outside = content[0] != 0
        elif number == _EXTERNAL_DATA and wire == _BYTES:
            key, value = _entry(data, content)
            if key in entries:
                raise BundleError(f"tensor {name!r} says twice what its {key} is")
            entries[key] = value
    if outside or entries:
        yield Outside(name, entries.get("location", ""), _number(name, entries, "offset", "0"), _number(name, entries, "length", ""))


def _entry(data: memoryview, span: Span) -> tuple[str, str]:
    """Key and value of a StringStringEntryProto."""
    words = {number: _text(data, content) for number, wire, content in _fields(data, span) if wire == _BYTES}
    return words.get(_KEY, ""), words.get(_VALUE, "")


def _number(tensor: str, entries: Mapping[str, str], key: str, default: str) -> int:
    text = entries.get(key, default)
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise BundleError(f"tensor {tensor!r} lies outside the model's file and its {key} is {text!r}, not a number of bytes")
    return int(text)


def _fields(data: memoryview, span: Span) -> Iterator[tuple[int, int, Span]]:
    """Number, wire type and content of each field in a message; a varint's content is its value, twice."""
    at, end = span
    while at < end:
        tag, at = _varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at, end)
            yield number, wire, (value, value)
            continue
        if wire == _BYTES:
            size, at = _varint(data, at, end)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:  # groups, which ONNX never had
            raise BundleError(_DAMAGED)
        if size > end - at:
            raise BundleError(_DAMAGED)
        yield number, wire, (at, at + size)
        at += size


def _varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise BundleError(_DAMAGED)


def _text(data: memoryview, span: Span) -> str:
    return bytes(data[span[0] : span[1]]).decode(errors="replace")
