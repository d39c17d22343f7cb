"""Predictions to a file, one JSON object a line, with rotation by size."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_agent.errors import SinkError
from edge_agent.sinks.lines import json_line
from edge_agent.sinks.terms import DEFAULT_KEEP
from edge_agent.values import Prediction

_TAIL_BYTES = 1 << 16
_LINE_BEGIN = b'{"pipeline":'


def open_sink(name: str, options: Mapping[str, Any], publish: object = None) -> JsonlSink:
    """A file sink as the checked ``options`` say: path, rotate_mib (16; 0: never), keep (4 older files)."""
    rotate_bytes = int(float(options.get("rotate_mib", 16)) * 1024 * 1024)
    return JsonlSink(name, Path(options["path"]), rotate_bytes, int(options.get("keep", DEFAULT_KEEP)))


class JsonlSink:
    """Appends whole lines: a line is in the file completely or not at all, after a full disk and after a crash too.

    Each line is one ``write``, so it survives the death of this process; it is not synced, so a power cut may cost the last seconds.
    When the file has reached ``rotate_bytes``, the next line makes it ``.1``, the old ``.1`` becomes ``.2``, and so on up to ``keep``.
    The file is opened at the first line. Errors are :class:`SinkError`; the next line tries again.
    """

    def __init__(self, name: str, path: Path, rotate_bytes: int, keep: int) -> None:
        self.name = name
        self._path, self._rotate_bytes, self._keep = path, rotate_bytes, keep
        self._handle = -1
        self._size = 0

    def emit(self, prediction: Prediction) -> None:
        line = json_line(prediction)
        try:
            if self._handle < 0:
                self._open()
            if self._rotate_bytes and self._size >= self._rotate_bytes:
                self._rotate()  # before the line, not after it: an error here must mean that the line is not in the file
                self._open()
            self._append(line)
        except OSError as error:
            self.close()
            raise SinkError(f"sink {self.name}: {self._path}: cannot be written ({error.strerror})") from error

    def flush(self) -> None:
        """Nothing is held back: every line was written when :meth:`emit` returned."""

    def close(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._size = _cut_torn_line(self._handle)

    def _append(self, line: bytes) -> None:
        written = 0
        try:
            while written < len(line):
                written += os.write(self._handle, line[written:])
        except OSError:
            if written:  # the disk filled up in the middle of the line
                os.ftruncate(self._handle, self._size)
            raise
        self._size += len(line)

    def _rotate(self) -> None:
        self.close()
        for number in range(self._keep - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _cut_torn_line(handle: int) -> int:
    """Ends the file after its last whole line, and returns its size. A process that died while writing leaves half a line of ours; what
    is nobody's line of ours stays, and gets an end."""
    if stat.S_ISFIFO(os.fstat(handle).st_mode):
        raise OSError(errno.ESPIPE, "it is a pipe, not a file")
    size = os.fstat(handle).st_size
    start = max(0, size - _TAIL_BYTES)
    tail = os.pread(handle, size - start, start)
    if not tail or tail.endswith(b"\n"):
        return size
    end = tail.rfind(b"\n") + 1
    torn = tail[end:]
    if (end == 0 and start > 0) or not torn.startswith(_LINE_BEGIN[: len(torn)]):  # no line of ours is that long, or begins so
        return size + os.write(handle, b"\n")
    os.ftruncate(handle, start + end)
    return start + end
