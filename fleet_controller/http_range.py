"""The ``Range`` request header, one range of bytes (RFC 9110 section 14). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SINGLE = re.compile(r"bytes=(\d{1,18})?-(\d{1,18})?")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from ``first`` to ``last``, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1


class Unsatisfiable(Exception):
    """A well-formed range that holds no byte of the file: status 416."""


def parse_range(header: str | None, size_bytes: int) -> ByteRange | None:
    """The range asked for of a file of ``size_bytes``; ``None`` means the whole file.

    Anything that is not one plain range (several, another unit, nonsense) is ignored, as the RFC allows. Raises :class:`Unsatisfiable`.
    """
    match = _SINGLE.fullmatch(header.replace(" ", "")) if header else None
    if match is None:
        return None
    first, last = match.groups()
    if first is None:
        return _suffix(last, size_bytes)
    start = int(first)
    end = size_bytes - 1 if last is None else min(int(last), size_bytes - 1)
    if last is not None and int(last) < start:
        return None
    if start >= size_bytes:
        raise Unsatisfiable
    return ByteRange(start, end)


def _suffix(count: str | None, size_bytes: int) -> ByteRange | None:
    if count is None:
        return None
    if int(count) == 0 or size_bytes == 0:
        raise Unsatisfiable
    return ByteRange(max(0, size_bytes - int(count)), size_bytes - 1)
