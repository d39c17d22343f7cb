"""Content-addressed bundles on disk, and one small pointer file per model that says which of them serves.

::

    objects/<sha256>          the bundle as it was signed
    unpacked/<sha256>/        its verified files; what runtimes open
    incoming/<sha256>         a transfer that has not ended yet
    active/<model>.json       {"active": digest, "history": [digest, ...]}
    quarantine.json           {digest: reason}

A live file is never written over: objects and folders appear under their final name in one rename, complete and synced,
and the pointer is replaced durably. Whatever a crash leaves behind carries a temporary name, and :meth:`FileStore.recover`
removes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

from edge_agent.bundle.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, Manifest
from edge_agent.bundle.manifest_reader import from_json
from edge_agent.errors import BundleError, StoreError
from edge_agent.update.durable import TEMP_PREFIX, fsync_dir, replace_durable, store_error, write_durable

HISTORY = 2
"""How many digests that served before are remembered per model; the newest of them that still exists is ``previous``."""

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK_BYTES = 1 << 20


class FileStore:
    """The Store port over a folder. One process writes it at a time: the agent, or the updater it waits for."""

    def __init__(self, root: Path) -> None:
        """Make the folders below ``root`` where they are missing. Raises :class:`StoreError`."""
        self.root = root
        self.lost_pointers: tuple[str, ...] = ()
        self._objects = root / "objects"
        self._unpacked = root / "unpacked"
        self._incoming = root / "incoming"
        self._active = root / "active"
        self._quarantine = root / "quarantine.json"
        try:
            for folder in (self._objects, self._unpacked, self._incoming, self._active):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise store_error(error, root, "make the store") from error

    def object_path(self, digest: str) -> Path:
        """Where the bundle with ``digest`` is or would be."""
        return self._objects / _checked(_DIGEST, digest, "digest")

    def incoming_path(self, digest: str) -> Path:
        """Where the bytes of a transfer gather until all of ``digest`` is there."""
        return self._incoming / _checked(_DIGEST, digest, "digest")

    def folder(self, digest: str) -> Path:
        return self._unpacked / _checked(_DIGEST, digest, "digest")

    def active(self, model: str) -> str:
        return self._pointer(model)[0]

    def previous(self, model: str) -> str:
        """The newest digest that served before, is still here, and is not quarantined; empty when there is none."""
        active, history = self._pointer(model)
        usable = (d for d in history if d != active and self.folder(d).is_dir() and not self.quarantined(d))
        return next(usable, "")

    def servable(self, model: str, *, but: str = "") -> str:
        """What can serve ``model``: the active bundle, or the newest before it whose files are whole; never ``but``, empty when none can.

        The files are hashed. This is what to start after a boot: a pointer may name a bundle that the disk has damaged since.
        """
        active, history = self._pointer(model)
        candidates = (d for d in (active, *history) if d and d != but and not (d != active and self.quarantined(d)))
        return next((digest for digest in candidates if self.healthy(digest)), "")

    def known(self, model: str) -> tuple[str, ...]:
        """The active digest of ``model`` and those before it, newest first, but for quarantined ones: those only while active."""
        active, history = self._pointer(model)
        return tuple(d for d in (active, *history) if d and (d == active or not self.quarantined(d)))

    def survivors(self, model: str) -> tuple[str, ...]:
        """Bundles of ``model`` that are whole and not quarantined, newest first: what a pointer that was lost may have named."""
        digests = [path.name for path in self._unpacked.iterdir() if _DIGEST.fullmatch(path.name) and not self._banned(path.name)]
        ours = [digest for digest in digests if self.healthy(digest) and self.manifest(digest).name == model]
        return tuple(sorted(ours, key=lambda digest: self.folder(digest).stat().st_mtime_ns, reverse=True))

    def mend(self, digest: str) -> bool:
        """Unpack ``digest`` anew from its bundle when that is whole; true when its files are whole then."""
        path = self.object_path(digest)
        try:
            if _sha256(path, path.stat().st_size) == digest:
                self.unpack(digest)
        except (StoreError, BundleError, OSError):
            return False
        return self.healthy(digest)

    def models(self) -> tuple[str, ...]:
        names = (path.name[: -len(".json")] for path in self._active.glob("*.json"))
        return tuple(sorted(name for name in names if _MODEL.fullmatch(name)))

    def set_active(self, model: str, digest: str, *, forget: str = "") -> None:
        """Durable when it returns; an empty ``digest`` removes the pointer, ``forget`` shall not become ``previous``.

        Raises :class:`StoreError` or :class:`StoreFull`.
        """
        path = self._pointer_path(model)
        if not digest:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise store_error(error, path, "remove") from error
            fsync_dir(self._active)
            return
        _checked(_DIGEST, digest, "digest")
        try:
            active, history = self._pointer(model)
        except StoreError:
            active, history = "", []  # a damaged pointer has nothing to remember; it is replaced
        if digest == active:
            return
        before = [d for d in ([active] if active else []) + history if d not in (digest, forget)]
        tree = {"active": digest, "history": list(dict.fromkeys(before))[:HISTORY]}
        write_durable(path, json.dumps(tree).encode())

    def manifest(self, digest: str) -> Manifest:
        """Raises :class:`StoreError` when ``digest`` is not unpacked here, :class:`BundleError` when its manifest is damaged."""
        path = self.folder(digest) / MANIFEST_NAME
        return from_json(_read(path, MAX_MANIFEST_BYTES + 1))

    def find(self, model: str, version: str) -> str:
        for folder in sorted(self._unpacked.iterdir()):
            if not _DIGEST.fullmatch(folder.name):
                continue
            try:
                manifest = self.manifest(folder.name)
            except (StoreError, BundleError):
                continue
            if (manifest.name, manifest.version) == (model, version):
                return folder.name
        return ""

    def quarantine(self, digest: str, reason: str) -> None:
        _checked(_DIGEST, digest, "digest")
        known = self._quarantined()
        if digest not in known:
            write_durable(self._quarantine, json.dumps({**known, digest: reason or "no reason given"}, indent=1).encode())

    def quarantined(self, digest: str) -> str:
        return self._quarantined().get(digest, "")

    def present(self, digest: str) -> bool:
        """True when the whole bundle is here. Objects appear complete, so the name is proof."""
        return self.object_path(digest).is_file()

    def healthy(self, digest: str) -> bool:
        """True when the unpacked files of ``digest`` are all here and hash to what its manifest says."""
        try:
            manifest = self.manifest(digest)
            folder = self.folder(digest)
            return all(_sha256(folder / entry.path, entry.bytes) == entry.sha256 for entry in manifest.files)
        except (StoreError, BundleError):
            return False

    def adopt(self, path: Path) -> str:
        """Copy the bundle at ``path`` into the store and return its sha256. Raises :class:`StoreError` or :class:`StoreFull`."""
        handle, name = tempfile.mkstemp(prefix=TEMP_PREFIX, dir=self._incoming)
        temp = Path(name)
        try:
            hasher = hashlib.sha256()
            with path.open("rb") as source, os.fdopen(handle, "wb") as target:
                while chunk := source.read(_CHUNK_BYTES):
                    hasher.update(chunk)
                    target.write(chunk)
                target.flush()
                os.fchmod(target.fileno(), 0o644)
                os.fsync(target.fileno())
            digest = hasher.hexdigest()
            replace_durable(temp, self.object_path(digest))
        except OSError as error:
            raise store_error(error, path, "copy into the store") from error
        finally:
            temp.unlink(missing_ok=True)
        return digest

    def accept(self, digest: str) -> None:
        """Make the complete, hashed and synced incoming file of ``digest`` an object."""
        replace_durable(self.incoming_path(digest), self.object_path(digest))

    def unpack(self, digest: str) -> Manifest:
        """Verify and unpack the object of ``digest``, unless its folder is complete. Raises :class:`BundleError`, :class:`StoreError`."""
        from edge_agent.bundle import archive  # only the updater process unpacks; the control process never pays for it

        return archive.unpack(self.object_path(digest), self.folder(digest))

    def collect(self, keep: Set[str] = frozenset()) -> tuple[str, ...]:
        """Remove every bundle that no pointer names and ``keep`` does not; returns their digests.

        Transfers under way are not bundles yet: :meth:`drop_transfers` removes those.
        """
        needed = set(keep)
        for model in self.models():
            active, history = self._pointer(model)
            needed |= {active, self.previous(model), *history[:1]}
        gone = set()
        for folder in (self._unpacked, self._objects):
            for path in folder.iterdir():
                if _DIGEST.fullmatch(path.name) and path.name not in needed:
                    _remove(path)
                    gone.add(path.name)
        return tuple(sorted(gone))

    def drop_transfers(self) -> None:
        """Remove the bytes of every unfinished transfer."""
        for path in self._incoming.iterdir():
            _remove(path)

    def recover(self) -> tuple[str, ...]:
        """Make the store usable after any crash; returns the names it removed or moved aside to ``*.damaged``.

        Called once at start, before anything writes: every temporary name is a torn write then. Models whose pointer was moved aside are
        in ``lost_pointers``. What the disk does not let go stays: an agent on a disk that can only be read has to start all the same.
        """
        folders = (self.root, self._objects, self._unpacked, self._incoming, self._active)
        torn = [path for folder in folders for path in folder.glob(f"{TEMP_PREFIX}*") if _done(_remove, path)]
        pointers = [path for path in self._active.glob("*.json") if not self._readable(path) and _done(_set_aside, path)]
        bans = [path for path in (self._quarantine,) if not self._readable(path) and _done(_set_aside, path)]
        self.lost_pointers = tuple(path.name[: -len(".json")] for path in pointers)
        return tuple(path.name for path in (*torn, *bans, *pointers))

    def _readable(self, path: Path) -> bool:
        try:
            if path == self._quarantine:
                self._quarantined()
            else:
                self._pointer(path.name[: -len(".json")])
        except StoreError:
            return False
        return True

    def _banned(self, digest: str) -> bool:
        try:
            return bool(self.quarantined(digest))
        except StoreError:
            return False

    def _pointer_path(self, model: str) -> Path:
        return self._active / f"{_checked(_MODEL, model, 'model name')}.json"

    def _pointer(self, model: str) -> tuple[str, list[str]]:
        path = self._pointer_path(model)
        tree = _read_json(path)
        active, history = tree.get("active", ""), tree.get("history", [])
        good = isinstance(active, str) and isinstance(history, list)
        if not good or not all(isinstance(d, str) and _DIGEST.fullmatch(d) for d in (*history, *([active] if active else []))):
            raise StoreError(f"{path}: does not name bundles; remove it and install the model again")
        return active, history

    def _quarantined(self) -> dict[str, str]:
        return {str(digest): str(reason) for digest, reason in _read_json(self._quarantine).items()}


def _checked(pattern: re.Pattern[str], word: str, what: str) -> str:
    if not pattern.fullmatch(word):
        raise StoreError(f"{word[:80]!r} is not a {what}")
    return word


def _read(path: Path, limit_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit_bytes)
    except OSError as error:
        raise store_error(error, path, "read") from error


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        tree = json.loads(_read(path, 1 << 20))
    except ValueError as error:
        raise StoreError(f"{path}: damaged ({error})") from None
    if not isinstance(tree, dict):
        raise StoreError(f"{path}: damaged (not an object)")
    return tree


def _sha256(path: Path, size_bytes: int) -> str:
    hasher = hashlib.sha256()
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != size_bytes:
                return ""
            while chunk := file.read(_CHUNK_BYTES):
                hasher.update(chunk)
    except OSError as error:
        raise store_error(error, path, "read") from error
    return hasher.hexdigest()


def _done(act: Callable[[Path], None], path: Path) -> bool:
    try:
        act(path)
    except StoreError:
        return False
    return True


def _set_aside(path: Path) -> None:
    aside = path.with_name(f"{path.name}.damaged")
    if path.is_dir() and aside.exists():
        _remove(aside)
    replace_durable(path, aside)


def _remove(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise store_error(error, path, "remove") from error
