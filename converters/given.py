"""Files that people name: regular ones of bounded size, so that a pipe, a device or a wrong disk image cannot hold the build up."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from converters.errors import InputError


def read_given(path: Path, *, max_bytes: int) -> bytes:
    """All of ``path``. Raises :class:`InputError` naming it when it is absent, no regular file, or larger than ``max_bytes``."""
    check_given(path, max_bytes=max_bytes)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def read_head(path: Path, count: int) -> bytes:
    """The first ``count`` bytes of ``path``. Raises as :func:`read_given` does."""
    check_given(path)
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def check_given(path: Path, *, max_bytes: int | None = None) -> None:
    """Raises as :func:`read_given` does, without opening the file: opening a named pipe would wait for a writer."""
    try:
        found = os.stat(path)  # noqa: PTH116 - says why, which Path.is_file does not
    except FileNotFoundError:
        raise InputError(f"{path}: cannot be read (there is no such file)") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path}: is {'a folder' if stat.S_ISDIR(found.st_mode) else 'not a regular file'}; give a file")
    if max_bytes is not None and found.st_size > max_bytes:
        raise InputError(f"{path}: has {found.st_size} bytes; at most {max_bytes} can be taken in")
