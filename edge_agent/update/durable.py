"""Files that survive power loss: write aside, fsync the file, rename over, fsync the directory.

Leaving out the last step lost the newest write in every power cut of our own experiments; leaving out the first
left empty files. ``rename(2)`` is atomic for readers, and only that.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from edge_agent.errors import StoreError, StoreFull

TEMP_PREFIX = ".tmp-"
"""Names that start so are torn writes of a process that died; whoever owns the folder removes them at start."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


def store_error(error: OSError, path: Path, act: str) -> StoreError:
    """The error of the tree for ``error``: :class:`StoreFull` when space or quota ran out, else :class:`StoreError`."""
    what = error.strerror or type(error).__name__
    if error.errno in _FULL:
        return StoreFull(f"{path}: cannot {act}: {what}; free some space on this file system")
    return StoreError(f"{path}: cannot {act}: {what}")


def write_durable(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Make ``path`` hold ``data``, whole or not at all, durable on return.

    Raises :class:`StoreFull` when the disk is full and :class:`StoreError` for anything else the system refuses; the old
    content of ``path`` stands then and no temporary file is left.
    """
    temp: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=TEMP_PREFIX, dir=path.parent)
        temp = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temp.replace(path)
        temp = None
        _sync(path.parent)
    except OSError as error:
        raise store_error(error, path, "write") from error
    finally:
        if temp is not None:
            with contextlib.suppress(OSError):
                temp.unlink()


def replace_durable(src: Path, dst: Path) -> None:
    """Rename ``src``, a file that is already synced, or a folder of such files, to ``dst``; durable on return.

    Both must be on one file system. Raises :class:`StoreFull` or :class:`StoreError`.
    """
    try:
        src.replace(dst)
        _sync(dst.parent)
        if src.parent != dst.parent:
            _sync(src.parent)
    except OSError as error:
        raise store_error(error, dst, "write") from error


def fsync_dir(path: Path) -> None:
    """Make the names in folder ``path`` durable. Raises :class:`StoreFull` or :class:`StoreError`."""
    try:
        _sync(path)
    except OSError as error:
        raise store_error(error, path, "sync") from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
