"""What a pickle would import, told without running it: its opcodes are read as data (Python library, ``pickletools``)."""

from __future__ import annotations

import pickletools
from collections.abc import Iterator

_TEXTS = frozenset(("SHORT_BINUNICODE", "BINUNICODE", "UNICODE", "BINUNICODE8"))
_PUTS = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_GETS = frozenset(("GET", "BINGET", "LONG_BINGET"))
UNREAD = "something that cannot be told"


def imports_in(data: bytes) -> frozenset[str]:
    """``module.name`` of everything that loading ``data`` (one or more pickles in a row) looks up, and :data:`UNREAD` where that cannot
    be told. Raises :class:`ValueError` for what is no pickle."""
    found: set[str] = set()
    start = 0
    while start < len(data):
        end = 0
        for name, argument, position in _opcodes(data[start:]):
            found |= _named(name, argument)
            end = position
        start += end + 1
        if data[start : start + 1] != b"\x80":
            break
    return frozenset(found)


def _opcodes(data: bytes) -> Iterator[tuple[str, object, int]]:
    """Opcodes with their argument; names put together on the stack come as one GLOBAL."""
    last: list[str] = []
    memo: dict[object, str] = {}
    for opcode, argument, position in pickletools.genops(data):
        name = opcode.name
        if name == "STACK_GLOBAL":
            yield "GLOBAL", " ".join(last[-2:]) if len(last) >= 2 else None, position or 0
        else:
            yield name, argument, position or 0
        if name in _TEXTS:
            last.append(str(argument))
        elif name in _PUTS and last:
            memo[argument] = last[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = last[-1] if last else ""
        elif name in _GETS:
            last.append(memo.get(argument, UNREAD))
        elif name not in ("PROTO", "FRAME"):
            last.append(UNREAD)
        del last[:-4]


def _named(name: str, argument: object) -> set[str]:
    if name in ("GLOBAL", "INST"):
        text = str(argument) if argument else ""
        return {text.replace(" ", ".")} if text and UNREAD not in text else {UNREAD}
    return {UNREAD} if name in ("EXT1", "EXT2", "EXT4") else set()
