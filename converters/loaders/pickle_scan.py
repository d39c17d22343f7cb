"""What a pickle or skops file would need, read without running any of it: names of modules, and the scikit-learn that wrote it.

Pickles made by joblib hold raw arrays between their instructions, so instructions cannot be followed to the end; the literals that name
modules are found wherever they stand (CPython, ``Lib/pickletools.py``: GLOBAL, SHORT_BINUNICODE, STACK_GLOBAL).
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from converters.errors import InputError

MAX_BYTES = 1 << 30
_KNOWN = frozenset(
    ("sklearn", "numpy", "scipy", "joblib", "builtins", "__builtin__", "copyreg", "copy_reg", "collections", "functools", "operator")
) | {"_codecs", "datetime", "decimal"}
"""Top-level packages that a scikit-learn model is made of."""
_GLOBAL = re.compile(rb"c([A-Za-z_][\w.]{0,200})\n([A-Za-z_][\w.]{0,200})\n")
_STACKED = re.compile(rb"\x8c(.)([A-Za-z_][\w.]{0,200}?)\x94?(?:\x8c.[A-Za-z_][\w.<>]{0,200}?\x94?|h.|j....)\x93", re.DOTALL)
_VERSION = re.compile(rb"_sklearn_version(?:\x94)?(?:q.|r....)?(?:\x8c|X|U)(.)(?:\x00{3})?(\d+\.[\w.+]{1,30})", re.DOTALL)
_SKOPS_MODULE = re.compile(rb'"__module__":\s*"([A-Za-z_][\w.]{0,200})"')
_SKOPS_VERSION = re.compile(rb'"_sklearn_version"[^{}]{0,80}\{[^{}]{0,200}?"content":\s*"\\?"?(\d+(?:\.\w{1,6}){1,3})', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Found:
    """``form`` is skops, joblib or pickle; ``strange`` are modules that scikit-learn does not need; ``version`` is empty where unsaid."""

    form: str
    strange: tuple[str, ...]
    version: str


def scan(path: Path) -> Found:
    """Raises :class:`InputError` for a file that is none of these."""
    try:
        if zipfile.is_zipfile(path):
            return _skops(path)
        data = _unpacked(path)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError) as error:
        raise InputError(f"{path}: is damaged ({error})") from None
    if data is None:
        return Found("joblib", (), "")
    if data[:1] not in (b"\x80", b"(", b"c", b"]", b"}"):
        raise InputError(f"{path}: is no pickle, joblib or skops file")
    names = {match[1] for match in _GLOBAL.finditer(data)}
    names |= {match[2] for match in _STACKED.finditer(data) if match[1][0] == len(match[2])}
    version = next((match[2][: match[1][0]] for match in _VERSION.finditer(data)), b"")
    form = "joblib" if any(name.startswith(b"joblib") for name in names) else "pickle"
    return Found(form, _strange(names), version.decode())


def _strange(names: set[bytes]) -> tuple[str, ...]:
    return tuple(sorted({name.decode() for name in names if name.decode().partition(".")[0] not in _KNOWN}))


def _skops(path: Path) -> Found:
    with zipfile.ZipFile(path) as archive:
        if "schema.json" not in archive.namelist():
            raise InputError(f"{path}: is an archive without schema.json, so no skops file")
        with archive.open("schema.json") as file:
            data = _bounded(file, path)
    version = _SKOPS_VERSION.search(data)
    return Found("skops", _strange({match[1] for match in _SKOPS_MODULE.finditer(data)}), version[1].decode() if version else "")


def _unpacked(path: Path) -> bytes | None:
    """The pickle inside joblib's compressions; ``None`` for one that the standard library cannot undo (lz4)."""
    head = path.open("rb").read(6)
    if head.startswith(b"\x04\x22\x4d\x18"):
        return None
    if head.startswith(b"\x1f\x8b"):
        with gzip.open(path) as file:
            return _bounded(cast(IO[bytes], file), path)
    if head.startswith(b"BZh"):
        with bz2.open(path) as file:
            return _bounded(cast(IO[bytes], file), path)
    if head.startswith((b"\xfd7zXZ", b"\x5d\x00\x00")):
        with lzma.open(path) as file:
            return _bounded(cast(IO[bytes], file), path)
    data = path.read_bytes()
    if head[:1] == b"\x78" and len(head) > 1 and (head[0] * 256 + head[1]) % 31 == 0:  # zlib's header (RFC 1950, 2.2)
        unpacking = zlib.decompressobj()
        made = unpacking.decompress(data, MAX_BYTES)
        if unpacking.unconsumed_tail:
            raise InputError(f"{path}: unpacks to more than {MAX_BYTES} bytes")
        return made
    return data


def _bounded(file: IO[bytes], path: Path) -> bytes:
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: unpacks to more than {MAX_BYTES} bytes")
    return data
