"""Ways to damage bytes, whatever they mean. Every choice comes from the given ``random.Random``."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

Mutation = Callable[[random.Random, bytearray, bytes], bytearray]
"""Takes the source of chance, the bytes, and another whole file of the same kind."""

NUMBERS = (0, 1, 2, 3, 4, 7, 8, 16, 255, 256, 1000, 65535, 65536, 1 << 20, (1 << 24) - 1, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
_LONG = (*NUMBERS, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


def flip_bits(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def set_bytes(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    for _ in range(chance.choice((1, 1, 2, 8))):
        data[chance.randrange(len(data))] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
    return data


def lie(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    """A number of 2, 4 or 8 bytes, as lengths and offsets are, becomes one that is chosen to be wrong."""
    form, numbers, size = chance.choice((("<H", NUMBERS, 2), ("<I", NUMBERS, 4), ("<I", (len(data), len(data) - 1), 4), ("<Q", _LONG, 8)))
    if len(data) > size:
        place = chance.randrange(len(data) - size)
        place -= place % min(size, 4) if chance.random() < 0.7 else 0
        struct.pack_into(form, data, place, chance.choice(numbers) & ((1 << 8 * size) - 1))
    return data


def move_number(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    """A 32-bit number becomes one a little different, as an offset that points to the neighbour."""
    if len(data) > 4:
        place = chance.randrange(len(data) // 4) * 4
        if place + 4 <= len(data):
            value = struct.unpack_from("<I", data, place)[0] + chance.choice((-8, -4, -1, 1, 4, 8))
            struct.pack_into("<I", data, place, value & 0xFFFFFFFF)
    return data


def swap(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    size = min(chance.choice((1, 2, 4, 8, 64)), len(data) // 2)
    if size:
        one, two = (chance.randrange(len(data) - size + 1) for _ in range(2))
        data[one : one + size], data[two : two + size] = data[two : two + size], data[one : one + size]
    return data


def cut(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    return data[: chance.randrange(len(data))]


def drop(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    start = chance.randrange(len(data))
    del data[start : start + chance.choice((1, 2, 4, 16, 256))]
    return data


def repeat(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    start = chance.randrange(len(data))
    piece = data[start : start + chance.choice((1, 4, 16, 256, 4096))]
    data[start:start] = piece * chance.choice((1, 2, 8))
    return data


def splice(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    """The beginning of one file and the end of another, or a piece of the other at the same place."""
    place = chance.randrange(min(len(data), len(other)) or 1)
    if chance.random() < 0.5:
        return data[:place] + other[place:]
    end = place + chance.choice((4, 16, 64, 1024))
    data[place:end] = other[place:end]
    return data


def blank(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    start = chance.randrange(len(data))
    size = min(chance.choice((4, 16, 256)), len(data) - start)
    data[start : start + size] = bytes([chance.choice((0, 255))]) * size
    return data


def change_text(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    """A number or word of a text becomes another, a line goes or comes twice."""
    lines = bytes(data).replace(b">", b">\n").split(b"\n")
    place = chance.randrange(len(lines))
    words = lines[place].split(b'"')
    action = chance.randrange(5)
    if action == 0:
        del lines[place]
    elif action == 1:
        lines.insert(place, lines[chance.randrange(len(lines))])
    elif action == 2:
        words[chance.randrange(len(words))] = chance.choice((b"", b"-1", b"1e999", b"nan", b"9" * 400, b"x", b"\xff", b"0", b"a" * 70000))
        lines[place] = b'"'.join(words)
    elif action == 3:
        number = str(chance.choice((0, -1, 1 << 31, 1 << 64, "1e308", "inf", "nan", "true", "[]", "{}"))).encode()
        lines[place] = lines[place].replace(chance.choice((b"0.5", b"1", b"2", b"3")), number)
    else:
        lines[place] = lines[place] * chance.choice((2, 3, 200))
    return bytearray(b"\n".join(lines))


BLIND: tuple[Mutation, ...] = (flip_bits, set_bytes, lie, lie, move_number, swap, cut, drop, repeat, splice, blank)
TEXT: tuple[Mutation, ...] = (change_text, change_text, change_text, *BLIND)
