"""Damage that keeps a file well formed: a field of an ONNX message or a TensorFlow Lite table gets another value.

Blind damage rarely gets beyond the parser; this reaches shape inference, the passes and the readers of operators.
"""

from __future__ import annotations

import io
import random
import struct
import zipfile
from typing import Any

import numpy as np
import onnx

from fuzz.mutate import BLIND, NUMBERS

_WHOLE = (*NUMBERS, -1, -2, -(1 << 31), -(1 << 63), (1 << 63) - 1, 17, 13, 9)
_REAL = (0.0, -1.0, 1e-30, 1e30, 3.4e38, float("inf"), float("nan"))


def change_message(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    """One to three fields anywhere in an ONNX model."""
    proto, donor = onnx.ModelProto(), onnx.ModelProto()
    try:
        proto.ParseFromString(bytes(data))
        donor.ParseFromString(other)
    except Exception:  # damaged before: nothing to keep well formed
        return data
    for _ in range(chance.choice((1, 1, 2, 3))):
        _change_one(chance, proto, donor)
    try:
        return bytearray(proto.SerializeToString())
    except Exception:  # a text that is none
        return data


def _change_one(chance: random.Random, proto: Any, donor: Any) -> None:
    message, names = proto, _texts(proto)
    while True:
        fields = [field for field, _ in message.ListFields()] or list(message.DESCRIPTOR.fields)
        field = chance.choice(fields if chance.random() < 0.9 else list(message.DESCRIPTOR.fields))
        value = getattr(message, field.name)
        if field.type == field.TYPE_MESSAGE and chance.random() < 0.9:
            if not _many(field):
                message = value
                continue
            if len(value):
                message = chance.choice(value)
                continue
        _set(chance, message, field, names, donor)
        return


def _set(chance: random.Random, message: Any, field: Any, names: list[str], donor: Any) -> None:
    """Takes a field out, has it twice, or gives it a value of its type."""
    value, action = getattr(message, field.name), chance.random()
    if action < 0.15:
        message.ClearField(field.name)
    elif _many(field) and len(value) and action < 0.4:
        place = chance.randrange(len(value))
        if chance.random() < 0.5:
            del value[place]
        else:
            value.append(value[place])
    elif field.type == field.TYPE_MESSAGE:
        if type(message) is type(donor.graph) and len(getattr(donor.graph, field.name, ())) and _many(field):
            value.add().CopyFrom(chance.choice(getattr(donor.graph, field.name)))
    else:
        _put(message, field, _value(chance, field, names), chance)


def _value(chance: random.Random, field: Any, names: list[str]) -> Any:
    if field.type == field.TYPE_STRING:
        return chance.choice((*names, "", "ai.onnx.ml", "y" * 300, "../w", "Conv", "Loop", "Cast", "Reshape", "Transpose"))
    if field.type == field.TYPE_BYTES:
        return chance.choice((b"", b"\0" * 7, b"\xff" * 64, b"SAME_UPPER", bytes(chance.randrange(4096))))
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return chance.choice(_REAL)
    if field.type == field.TYPE_ENUM:
        return chance.choice([value.number for value in field.enum_type.values])
    return chance.choice(_WHOLE)


def _put(message: Any, field: Any, value: Any, chance: random.Random) -> None:
    try:
        held = getattr(message, field.name)
        if not _many(field):
            setattr(message, field.name, value)
        elif len(held):
            held[chance.randrange(len(held))] = value
        else:
            held.append(value)
    except (ValueError, TypeError):  # out of the range of its type
        return


def _many(field: Any) -> bool:
    return bool(getattr(field, "is_repeated", False)) if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED


def _texts(proto: Any) -> list[str]:
    """The names of tensors and operators that this model has."""
    found = {name for node in proto.graph.node for name in (*node.input, *node.output, node.op_type)}
    found |= {value.name for value in (*proto.graph.input, *proto.graph.output)}
    return sorted(name for name in found if isinstance(name, str))


def change_table(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    """One to three fields anywhere in a TensorFlow Lite model."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.ModelT.InitFromPackedBuf(bytes(data), 0)
        for _ in range(chance.choice((1, 1, 2, 3))):
            _change_object(chance, model)
        builder = flatbuffers.Builder(1 << 12)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytearray(builder.Output())
    except Exception:  # damaged before, or a value that its field cannot hold
        return data


def _change_object(chance: random.Random, model: Any) -> None:
    """Walks from the graph to a tensor, operator or options table and changes a field there."""
    graph = chance.choice(model.subgraphs)
    places = [graph, chance.choice(graph.tensors), chance.choice(graph.tensors), *[chance.choice(graph.operators)] * 2]
    places += [chance.choice(model.operatorCodes), *[item.builtinOptions for item in graph.operators if item.builtinOptions][:40]]
    target = chance.choice(places)
    name = chance.choice(sorted(vars(target)))
    value = getattr(target, name)
    if isinstance(value, bool):
        value = not value
    elif isinstance(value, int):
        value = chance.choice((value + 1, value - 1, *(number for number in _WHOLE if -(1 << 31) <= number < 1 << 31)))
    elif isinstance(value, float):
        value = chance.choice(_REAL)
    elif isinstance(value, np.ndarray) and value.size:
        value = value.copy()
        value[chance.randrange(value.size)] = chance.choice((-1, 0, 1, 2, 3, 5, 8, 100, 65535, (1 << 31) - 1))
        value = value[: chance.choice((value.size, value.size, value.size - 1))]
    elif isinstance(value, list) and value:
        value = value[:-1] if chance.random() < 0.5 else [*value, chance.choice(value)]
    elif isinstance(value, bytes):
        value = chance.choice((b"", b"x", value * 2, b"\xff\xfe"))
    setattr(target, name, value)


def change_member(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    """A member of a zip archive is damaged and stored with a checksum that is right again, under its own or another name."""
    try:
        with zipfile.ZipFile(io.BytesIO(bytes(data))) as held:
            members = {info.filename: held.read(info) for info in held.infolist()}
    except Exception:  # damaged before
        return data
    if not members:
        return data
    name = chance.choice(sorted(members))
    content = bytearray(members[name])
    if content and chance.random() < 0.8:
        head = content[:160] if chance.random() < 0.6 else content
        rest = content[len(head) :]
        content = chance.choice(BLIND)(chance, bytearray(head), bytes(head)) + rest
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as made:
        for member, held_bytes in members.items():
            renamed = chance.choice((member, member, member, "../x.npy", "/etc/x", "y.npy", ".", "x" * 5000)) if member == name else member
            info = zipfile.ZipInfo(renamed)  # dated 1980: the same case gives the same bytes
            made.writestr(info, bytes(content) if member == name else held_bytes, made.compression)
    return bytearray(out.getvalue())


def lie_in_wire(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    """A length prefix of the outermost protobuf fields, or one inside them, says another length."""
    place, end, depth = 0, len(data), 0
    while place < end and depth < 12:
        key, place = _varint(data, place)
        kind = key & 7
        start = place
        size, place = _varint(data, place)
        if kind == 2 and (chance.random() < 0.15 or depth == 11):
            lied = _packed(max(size + chance.choice((-4, -1, 1, 4, 1 << 20, 1 << 31, 1 << 62)), 0))
            data[start:place] = lied
            return data
        if kind == 2 and size < end - place and chance.random() < 0.4:
            end, depth = place + size, depth + 1
        else:
            place += {1: 7, 2: size, 5: 3}.get(kind, 0)
    return data


def _varint(data: bytearray, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 64:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    return value, place


def _packed(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def header_lie(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    """The table of a flatbuffer's vtable entries begins near its front; offsets there are bent by a few bytes or far away."""
    place = chance.randrange(min(len(data) // 2, 512) or 1) * 2
    if place + 2 <= len(data):
        struct.pack_into("<H", data, place, chance.choice((0, 4, 8, 12, 0xFFFF, 0x7FFF, chance.randrange(64))))
    return data
