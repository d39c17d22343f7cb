"""The bundle's ZIP structure, read strictly: one form is accepted, everything else is refused by name.

A bundle is a plain ZIP file that uses a small part of the format (PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12, 4.3.16): entries are
stored, not compressed; they follow each other from byte 0 without gaps; the central directory comes right after them and the
end record right after that, without a comment. There are no extra fields, data descriptors, ZIP64 records, encryption or directories.
So every byte of the file belongs to exactly one header or one entry, nothing can hide or overlap, and nothing can expand.
"""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass
from typing import BinaryIO

from edge_agent.bundle.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES
from edge_agent.errors import BundleError

_END = struct.Struct("<4s4H2LH")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_END_MAGIC, _CENTRAL_MAGIC, _LOCAL_MAGIC = b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04"
_ENCRYPTED, _DESCRIPTOR, _STRONG, _UTF8 = 0x1, 0x8, 0x40, 0x800
_STORED = 0
_UNIX = 3
_MAX_COMMENT = 0xFFFF


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader puts up with. Entries are stored, so bytes read are bytes written: no ratio is needed against bombs."""

    max_entries: int = 256
    max_total_bytes: int = 1 << 30
    max_manifest_bytes: int = MAX_MANIFEST_BYTES
    max_path_chars: int = 200


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored file: its ``bytes`` lie at ``offset`` of the bundle; ``crc`` is their CRC-32."""

    path: str
    offset: int
    bytes: int
    crc: int


def read_layout(file: BinaryIO, limits: Limits = LIMITS) -> tuple[Entry, ...]:
    """Every entry of the bundle open in ``file``, in file order, the manifest first.

    Headers alone are read, never more than ``limits`` allow. Raises :class:`BundleError`.
    """
    size_bytes = file.seek(0, os.SEEK_END)
    count, directory_bytes, directory_offset = _end_record(file, size_bytes)
    if not 1 <= count <= limits.max_entries:
        raise BundleError(f"has {count} entries; 1 to {limits.max_entries} are allowed")
    if directory_offset + directory_bytes != size_bytes - _END.size:
        raise BundleError("has bytes before, between or after its parts that belong to no entry")
    if directory_bytes > count * (_CENTRAL.size + limits.max_path_chars):
        raise BundleError(f"its directory has {directory_bytes} bytes, too many for {count} entries without extra fields and comments")
    entries = _entries(file, _exactly(file, directory_offset, directory_bytes), count, directory_offset, limits)
    if entries[0].path != MANIFEST_NAME:
        raise BundleError(f"the first entry is {entries[0].path!r}, it must be {MANIFEST_NAME}")
    if entries[0].bytes > limits.max_manifest_bytes:
        raise BundleError(f"{MANIFEST_NAME} has {entries[0].bytes} bytes; at most {limits.max_manifest_bytes} are allowed")
    return entries


def _exactly(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    data = file.read(count)
    if len(data) != count:
        raise BundleError("is truncated")
    return data


def _end_record(file: BinaryIO, size_bytes: int) -> tuple[int, int, int]:
    """Count of entries, bytes and offset of the central directory."""
    if size_bytes < _END.size:
        raise BundleError("is not a bundle (too short for a ZIP file)")
    tail = _exactly(file, size_bytes - _END.size, _END.size)
    magic, disk, directory_disk, here, count, directory_bytes, directory_offset, comment = _END.unpack(tail)
    if magic != _END_MAGIC or comment:
        span = min(size_bytes, _END.size + _MAX_COMMENT)
        found = _exactly(file, size_bytes - span, span).rfind(_END_MAGIC)
        if 0 <= found <= span - _END.size:
            raise BundleError("has a ZIP comment or bytes after its end")
        raise BundleError("is not a bundle (no ZIP end record), or is truncated")
    if disk or directory_disk or here != count:
        raise BundleError("is split over several disks")
    if 0xFFFF in (here, count) or 0xFFFFFFFF in (directory_bytes, directory_offset):
        raise BundleError("uses ZIP64, which bundles do not")
    return count, directory_bytes, directory_offset


def _entries(file: BinaryIO, directory: bytes, count: int, end: int, limits: Limits) -> tuple[Entry, ...]:
    entries: list[Entry] = []
    seen: dict[str, str] = {}
    at, expected_offset, total = 0, 0, 0
    for _ in range(count):
        entry, next_at, next_offset = _entry(file, directory, at, expected_offset, limits)
        total += entry.bytes
        if total > limits.max_total_bytes:
            raise BundleError(f"holds more than {limits.max_total_bytes} bytes")
        if next_offset > end:
            raise BundleError(f"entry {entry.path!r} reaches beyond the space of entries")
        _claim(entry.path, seen)
        entries.append(entry)
        at, expected_offset = next_at, next_offset
    if at != len(directory) or expected_offset != end:
        raise BundleError("has bytes before, between or after its parts that belong to no entry")
    return tuple(entries)


def _entry(file: BinaryIO, directory: bytes, at: int, expected_offset: int, limits: Limits) -> tuple[Entry, int, int]:
    """The entry whose central header starts at ``at``, where the next header starts, and where the next local header must lie."""
    if len(directory) - at < _CENTRAL.size:
        raise BundleError("its directory is cut short")
    fields = _CENTRAL.unpack_from(directory, at)
    magic, made_by, needed, flags, method, clock, date, crc, stored, size, name_len = fields[:11]
    extra_len, comment_len, disk, _, attributes, offset = fields[11:]
    if magic != _CENTRAL_MAGIC:
        raise BundleError("its directory is damaged")
    raw_name = directory[at + _CENTRAL.size : at + _CENTRAL.size + name_len]
    path = _path(raw_name, name_len, limits)
    _check_kind(path, made_by, attributes, flags, method)
    if extra_len or comment_len or disk:
        raise BundleError(f"entry {path!r} has extra fields, a comment or another disk, which bundles do not")
    if stored != size:
        raise BundleError(f"entry {path!r} gives two different sizes")
    if offset != expected_offset:
        raise BundleError(f"entry {path!r} overlaps another entry, or bytes that belong to no entry lie before it")
    local = _exactly(file, offset, _LOCAL.size + name_len)
    same = _LOCAL.pack(_LOCAL_MAGIC, needed, flags, method, clock, date, crc, stored, size, name_len, 0) + raw_name
    if local != same:
        raise BundleError(f"entry {path!r}: its own header and the directory disagree")
    start = offset + len(local)
    return Entry(path, start, size, crc), at + _CENTRAL.size + name_len, start + size


def _path(raw: bytes, name_len: int, limits: Limits) -> str:
    if not 0 < name_len <= limits.max_path_chars or len(raw) != name_len:
        raise BundleError(f"an entry's name has {name_len} bytes; 1 to {limits.max_path_chars} are allowed")
    try:
        path = raw.decode("ascii")
    except UnicodeDecodeError:
        raise BundleError(f"entry name {raw!r} is not ASCII") from None
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or ":" in path or not path.isprintable() or any(part in ("", ".", "..") for part in parts):
        raise BundleError(f"entry name {path!r} is not a plain relative path (absolute, '..', backslash, directory or control characters)")
    return path


def _check_kind(path: str, made_by: int, attributes: int, flags: int, method: int) -> None:
    mode = attributes >> 16 if made_by >> 8 == _UNIX else 0
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise BundleError(f"entry {path!r} is not a regular file but a link, device or directory")
    if attributes & 0x18:
        raise BundleError(f"entry {path!r} is marked as a directory or volume")
    if flags & (_ENCRYPTED | _STRONG):
        raise BundleError(f"entry {path!r} is encrypted")
    if flags & _DESCRIPTOR:
        raise BundleError(f"entry {path!r} has its sizes after its data, which bundles do not")
    if flags & ~_UTF8:
        raise BundleError(f"entry {path!r} has unknown flags 0x{flags:04x}")
    if method != _STORED:
        raise BundleError(f"entry {path!r} is compressed (method {method}); bundle entries are stored")


def _claim(path: str, seen: dict[str, str]) -> None:
    """Refuses a path that is, or on some file systems would be, one already there, or a folder of it."""
    folded = path.lower()
    if folded in seen:
        what = "twice" if seen[folded] == path else f"and {seen[folded]!r}, which differ only in case"
        raise BundleError(f"names {path!r} {what}")
    for other, original in seen.items():
        if other.startswith(folded + "/") or folded.startswith(other + "/"):
            raise BundleError(f"names {path!r} and {original!r}: one would be a folder of the other")
    seen[folded] = path
