"""From a URL path to a file below one folder, or to nothing. No listing, no dot files, no way out."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}")
_NUMBERED = re.compile(r"\d+\.[a-z]+\.json|[0-9a-f]{64}\..+")
_MAX_PARTS = 6


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file, open for reading, as HTTP needs to know it."""

    file: BinaryIO
    size_bytes: int
    etag: str
    cache_control: str
    content_type: str


def open_public(root: Path, target: str) -> OpenFile | None:
    """The file that request target ``target`` names below ``root``, or ``None``. The caller closes it.

    Names are letters, digits and ``. _ + -`` not starting with a dot; a link that leads out of ``root`` names nothing.
    """
    try:
        parts = unquote(urlsplit(target).path, errors="strict").split("/")
    except ValueError:
        return None
    if parts[0] != "" or not 2 <= len(parts) <= _MAX_PARTS or not all(_PART.fullmatch(part) for part in parts[1:]):
        return None
    try:
        path = root.joinpath(*parts[1:]).resolve(strict=True)
        if not path.is_relative_to(root.resolve()):
            return None
        # A pipe would block the open: not waiting for a writer costs nothing on regular files.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    return _described(handle, path.name)


def _described(handle: int, name: str) -> OpenFile | None:
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        return None
    # Files are replaced, never changed in place, so inode, time and size tell versions apart.
    etag = f'"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"'
    cache = "public, max-age=31536000, immutable" if _NUMBERED.fullmatch(name) else "no-cache"
    kind = "application/json" if name.endswith(".json") else "application/octet-stream"
    return OpenFile(os.fdopen(handle, "rb"), status.st_size, etag, cache, kind)
