"""A bundle as a file: written on the host, opened and unpacked on the device. The ZIP structure is ``layout``'s business.

Nothing is written anywhere before names and sizes agree with the manifest, and a folder appears under its final name only when every
byte in it was checked against the manifest's sha256 and is on the disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from edge_agent.bundle.layout import LIMITS, Entry, Limits, read_layout
from edge_agent.bundle.manifest import MANIFEST_NAME, FileEntry, Manifest, to_json
from edge_agent.bundle.manifest_reader import from_json
from edge_agent.bundle.weights import check_weights, check_weights_in
from edge_agent.errors import BundleError
from edge_agent.update.durable import TEMP_PREFIX, fsync_dir, store_error

EXTENSION = ".edgemodel"
_CHUNK_BYTES = 1 << 18
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a ZIP header can hold
_FILE_MODE = 0o644


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def write_bundle(path: Path, manifest: Manifest, files: Mapping[str, bytes], *, limits: Limits = LIMITS) -> str:
    """Writes the bundle durably and returns its sha256. The same input gives the same bytes on every machine.

    Raises :class:`BundleError` when ``files`` and ``manifest`` disagree or the manifest could not be read back; ``path`` is untouched then.
    """
    try:
        head = to_json(manifest)
    except (TypeError, ValueError) as error:
        raise BundleError(f"{path.name}: the manifest cannot be written as JSON ({error})") from None
    if from_json(head) != manifest:
        raise BundleError(f"{path.name}: the manifest does not survive being written and read (use JSON types only)")
    for entry in manifest.files:
        _check_content(path.name, entry, files)
    extra = sorted(set(files) - {entry.path for entry in manifest.files})
    if extra:
        raise BundleError(f"{path.name}: {', '.join(extra)} not in the manifest's files")
    with _named(path.name):
        check_weights(manifest, files[manifest.model_file.path])
    aside = path.with_name(f"{TEMP_PREFIX}{path.name}.{os.getpid()}")
    try:
        with _store_errors(path), aside.open("w+b") as out:
            _write_zip(out, {MANIFEST_NAME: head, **{name: files[name] for name in sorted(files)}})
            with _named(path.name):  # what we write, we must be able to read
                read_layout(out, limits)
            os.fsync(out.fileno())
            os.replace(aside, path)  # noqa: PTH105
            fsync_dir(path.parent)
    finally:
        aside.unlink(missing_ok=True)
    return sha256_file(path)


def read_manifest(path: Path, *, limits: Limits = LIMITS) -> Manifest:
    """The manifest of the bundle at ``path``, its entries checked against it by name and size (not yet by hash).

    Raises :class:`BundleError`.
    """
    with _opened(path) as file:
        return _open(file, limits)[0]


def read_bundle(path: Path, *, limits: Limits = LIMITS) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest and every file, in memory; for the host. Raises :class:`BundleError`."""
    with _opened(path) as file:
        manifest, entries, _ = _open(file, limits)
        files: dict[str, bytes] = {}
        for declared in manifest.files:
            pieces: list[bytes] = []
            _copy(file, entries[declared.path], pieces.append, declared.sha256)
            files[declared.path] = b"".join(pieces)
        check_weights(manifest, files[manifest.model_file.path])
        return manifest, files


def unpack(path: Path, folder: Path, *, limits: Limits = LIMITS) -> Manifest:
    """Makes ``folder`` hold the verified files of the bundle at ``path``, durably, and returns the manifest.

    Files are written into a folder aside, synced and renamed; RAM use does not grow with the model. A folder that is already complete
    and undamaged is left as it is; anything else under that name is replaced. Raises :class:`BundleError`; StoreFull or StoreError
    when the disk is the reason. ``folder`` never exists half-written.
    """
    with _opened(path) as file:
        manifest, entries, head = _open(file, limits)
        if _complete(folder, manifest, head):
            return manifest
        aside = folder.with_name(f"{TEMP_PREFIX}{folder.name}.unpacking")
        with _store_errors(folder):
            _remove(aside)
            try:
                _unpack_into(aside, file, manifest, entries, head)
                _remove(folder)
                aside.rename(folder)
                fsync_dir(folder.parent)
            finally:
                _remove(aside)
    return manifest


def _check_content(bundle: str, entry: FileEntry, files: Mapping[str, bytes]) -> None:
    content = files.get(entry.path)
    if content is None:
        raise BundleError(f"{bundle}: no content given for {entry.path}")
    if len(content) != entry.bytes or hashlib.sha256(content).hexdigest() != entry.sha256:
        raise BundleError(f"{bundle}: the content of {entry.path} is not what the manifest says")


def _write_zip(out: BinaryIO, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3
            info.external_attr = (0o100000 | _FILE_MODE) << 16
            archive.writestr(info, content)
    out.flush()


def _open(file: BinaryIO, limits: Limits) -> tuple[Manifest, dict[str, Entry], bytes]:
    """Manifest, entries by path, and the manifest's own bytes; names and sizes agree when it returns."""
    entries = {entry.path: entry for entry in read_layout(file, limits)}
    pieces: list[bytes] = []
    _copy(file, entries[MANIFEST_NAME], pieces.append, "")
    head = b"".join(pieces)
    manifest = from_json(head)
    declared = {entry.path: entry for entry in manifest.files}
    undeclared = sorted(set(entries) - set(declared) - {MANIFEST_NAME})
    missing = sorted(set(declared) - set(entries))
    if undeclared or missing:
        parts = [f"holds {name} that the manifest does not name" for name in undeclared] + [f"lacks {name}" for name in missing]
        raise BundleError("; ".join(parts))
    for entry in manifest.files:
        if entries[entry.path].bytes != entry.bytes:
            raise BundleError(f"{entry.path} has {entries[entry.path].bytes} bytes, the manifest says {entry.bytes}")
    return manifest, entries, head


def _copy(file: BinaryIO, entry: Entry, take: Callable[[bytes], object], sha256: str) -> None:
    """Gives the entry's bytes to ``take`` in pieces; BundleError at the end when a checksum is wrong (``sha256`` empty: CRC only)."""
    file.seek(entry.offset)
    left, crc, digest = entry.bytes, 0, hashlib.sha256()
    while left:
        chunk = file.read(min(left, _CHUNK_BYTES))
        if not chunk:
            raise BundleError(f"{entry.path} is truncated")
        left -= len(chunk)
        crc = zlib.crc32(chunk, crc)
        digest.update(chunk)
        take(chunk)
    if crc != entry.crc or (sha256 and digest.hexdigest() != sha256):
        raise BundleError(f"{entry.path} is damaged (its checksum does not match)")


def _unpack_into(aside: Path, file: BinaryIO, manifest: Manifest, entries: Mapping[str, Entry], head: bytes) -> None:
    aside.mkdir(parents=True)
    for declared in manifest.files:
        target = aside / declared.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with _created(target) as out:
            _copy(file, entries[declared.path], out.write, declared.sha256)
    check_weights_in(aside, manifest)
    with _created(aside / MANIFEST_NAME) as out:
        out.write(head)
    for folder in [Path(root) for root, _, _ in os.walk(aside)]:
        fsync_dir(folder)


@contextmanager
def _created(path: Path) -> Iterator[BinaryIO]:
    """A new file (never through a link, never over another), synced when the block ends well."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, _FILE_MODE), "wb") as file:  # noqa: PTH123
        yield file
        file.flush()
        os.fsync(file.fileno())


def _complete(folder: Path, manifest: Manifest, head: bytes) -> bool:
    """Whether ``folder`` holds exactly what the bundle holds, by hash."""
    try:
        if (folder / MANIFEST_NAME).read_bytes() != head:
            return False
        return all(not (folder / f.path).is_symlink() and sha256_file(folder / f.path) == f.sha256 for f in manifest.files)
    except OSError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Puts the bundle's name before every BundleError's text."""
    try:
        yield
    except BundleError as error:
        raise BundleError(f"{name}: {error}") from None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The bundle open for reading; a bundle that cannot be read is a BundleError."""
    with _named(path.name):
        try:
            # Not blocking: opening a named pipe would wait for a writer that never comes.
            file = open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")  # noqa: PTH123, SIM115
        except OSError as error:
            raise BundleError(f"cannot be opened ({error.strerror})") from None
        with file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BundleError("is not a regular file")
            try:
                yield file
            except OSError as error:
                raise BundleError(f"cannot be read ({error.strerror})") from None


@contextmanager
def _store_errors(path: Path) -> Iterator[None]:
    """Says which way the disk failed."""
    try:
        yield
    except OSError as error:
        raise store_error(error, path, "write") from error
