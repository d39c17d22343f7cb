"""Bytes to lines, however they arrive."""

from __future__ import annotations


class LineBuffer:
    """Bytes in, whole lines out, in bounded memory. Where reading may begin in the middle of a line (``torn_start``), the first line after
    :meth:`reset` is thrown away: the end of ``101.5`` reads as ``1.5``, and a wrong number is worse than a missing one."""

    def __init__(self, max_line_bytes: int, *, torn_start: bool = True) -> None:
        self._max = max_line_bytes
        self._torn_start = torn_start
        self._rest = b""
        self._skipping = torn_start
        self.too_long = 0

    def reset(self) -> None:
        self._rest, self._skipping = b"", self._torn_start

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes, without their ends."""
        lines: list[bytes] = []
        pieces = data.split(b"\n")
        for piece in pieces[:-1]:
            self._grow(piece)
            if not self._skipping:
                lines.append(self._rest.strip())
            self._rest, self._skipping = b"", False
        self._grow(pieces[-1])
        return lines

    def _grow(self, piece: bytes) -> None:
        if self._skipping:
            return
        self._rest += piece
        if len(self._rest) > self._max:
            self.too_long += 1
            self._rest, self._skipping = b"", True
