"""The protobuf wire form of infer calls, as far as tensors can pass through it untouched. Pure.

A client that asks for the same again and again sends the same bytes, but for the id and the tensors. They are told apart here without
reading the message; who has understood those bytes once need not read them again. Tensors stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_ID, _RAW = 0x1A, 0x3A
_OTHERS = frozenset((0x0A, 0x12, 0x22, 0x2A, 0x32))
_ID_OUT, _RAW_OUT = b"\x1a", b"\x32"


@dataclass(frozen=True, slots=True)
class Parts:
    """A ModelInferRequest taken apart: ``key`` is all of it but the id and the tensors, ``identity`` the id's UTF-8."""

    key: bytes
    identity: bytes
    tensors: tuple[memoryview, ...]


def parts_of(data: bytes) -> Parts | None:
    """``data`` taken apart; ``None`` for what is not written as usual, which may still be a message, and for what is not a message."""
    view, at, end = memoryview(data), 0, len(data)
    kept: list[memoryview] = []
    tensors: list[memoryview] = []
    identity = b""
    while at < end:
        tag = data[at]
        start, size = at, 0
        at += 1
        shift = 0
        while True:  # the length, a varint
            if at >= end or shift > 28:
                return None
            byte = data[at]
            at += 1
            size |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        body, at = at, at + size
        if at > end:
            return None
        if tag == _RAW:
            tensors.append(view[body:at])
        elif tag == _ID:
            identity = data[body:at]
        elif tag in _OTHERS:
            kept.append(view[start:at])
        else:
            return None
    return Parts(b"".join(kept), identity, tuple(tensors)) if identity.isascii() else None


def id_field(identity: bytes) -> bytes:
    """Field ``id`` of an answer; nothing for no id."""
    return _ID_OUT + varint(len(identity)) + identity if identity else b""


def tensor_fields(tensors: Iterable[Any]) -> list[Any]:
    """Field ``raw_output_contents`` of an answer for each of ``tensors``, in pieces."""
    pieces: list[Any] = []
    for tensor in tensors:
        pieces += (_RAW_OUT + varint(len(tensor)), tensor)
    return pieces


def message_field(number: int, data: bytes) -> bytes:
    """A message as field ``number``, below 16, of another."""
    return bytes((number << 3 | 2,)) + varint(len(data)) + data


def varint(value: int) -> bytes:
    """``value``, 0 or more, seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
