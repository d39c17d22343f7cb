"""The short-lived process of an update: ``python -m edge_agent.updater_process``, request on stdin, JSON lines on stdout.

What only an update needs (TUF, cryptography, an HTTP client, the bundle reader on untrusted bytes) lives here and is gone
when the process ends. It ends with its parent, too: a transfer must not go on behind the back of an agent that started anew.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_agent.clock import SystemClock
from edge_agent.errors import BundleError, EdgeError, FetchError, FetchRefused, StoreError, TrustError
from edge_agent.update.compatibility import unfit
from edge_agent.update.request import Request, decode_request, encode_error
from edge_agent.update.store import FileStore

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_PROGRESS_STEPS = 50
_NICENESS = 10


def main() -> int:
    """Exit status 0 when a result was written, 1 when an error was."""
    request = decode_request(sys.stdin.buffer.read())
    if not _die_with(request.parent):
        return 1
    os.nice(_NICENESS)
    try:
        digest = _fetch(request) if request.act == "fetch" else _verify(request)
    except EdgeError as error:
        _say(encode_error(error))
        return 1
    _say({"digest": digest})
    return 0


def _die_with(parent: int) -> bool:
    """Be killed when the thread that started us ends; false when that has happened already."""
    if not parent:
        return True
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def _fetch(request: Request) -> str:
    store = FileStore(request.place.store)
    sources: dict[str, Callable[[Request, FileStore], str]] = {"repository": _from_repository, "file": _from_file, "store": _from_store}
    digest = sources[request.command.source](request, store)
    wanted = request.command.digest
    if wanted and digest != wanted:
        raise TrustError(f"{request.command.model}@{request.command.version} is {digest[:12]}... here where {wanted[:12]}... was ordered")
    return digest


def _from_repository(request: Request, store: FileStore) -> str:
    from edge_agent.update.fetch import check_space, download

    try:
        from edge_agent.update.http import Http
        from edge_agent.update.trust import Trust
    except ModuleNotFoundError as error:
        raise FetchRefused(f"{error.name} is not installed: pip install 'edge-runtime[onnx]' or 'edge-runtime[tflite]'") from None
    place, command = request.place, request.command
    if not place.repository or place.trusted_root is None:
        raise FetchRefused("no repository is configured; set updates.repository and updates.trusted_root")
    target = Trust(place.metadata, place.repository, place.trusted_root, SystemClock()).target(command.model, command.version)
    if target.length > place.max_bundle_bytes:
        raise FetchRefused(f"{target.path} has {target.length} bytes; updates.max_bundle_mib allows {place.max_bundle_bytes}")
    banned = store.quarantined(target.sha256)
    if banned:
        raise TrustError(f"{command.model}@{command.version} ({target.sha256[:12]}) is quarantined on this device: {banned}")
    if store.present(target.sha256):
        return target.sha256
    incoming = store.incoming_path(target.sha256)
    have = incoming.stat().st_size if incoming.exists() else 0
    check_space(place.store, 2 * target.length - min(have, target.length))  # the bundle, and the files that come out of it
    url = f"{place.repository.rstrip('/')}/{target.path}"
    download(url, incoming, length=target.length, sha256=target.sha256, http=Http(), progress=_progress())
    store.accept(target.sha256)
    return target.sha256


def _from_file(request: Request, store: FileStore) -> str:
    from edge_agent.update.fetch import check_space

    path = Path(request.command.path)
    try:
        size_bytes = path.stat().st_size
    except OSError as error:
        raise FetchRefused(f"{path}: {error.strerror}") from error
    if size_bytes > request.place.max_bundle_bytes:
        raise FetchRefused(f"{path} has {size_bytes} bytes; updates.max_bundle_mib allows {request.place.max_bundle_bytes}")
    check_space(request.place.store, 2 * size_bytes)
    return store.adopt(path)


def _from_store(request: Request, store: FileStore) -> str:
    command = request.command
    digest = command.digest or store.find(command.model, command.version)
    if not digest or not store.present(digest):
        raise FetchRefused(f"{command.model}@{command.version} is no longer in the store of this device; deploy it from the repository")
    return digest


def _verify(request: Request) -> str:
    from edge_agent.bundle.archive import read_manifest, sha256_file

    store, command = FileStore(request.place.store), request.command
    path = store.object_path(request.digest)
    try:
        found = sha256_file(path)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    if found != request.digest:
        path.unlink(missing_ok=True)
        raise TrustError(f"{path}: the stored bundle was damaged (it hashes to {found[:12]}...) and was removed; deploy it again")
    manifest = read_manifest(path)
    if (manifest.name, manifest.version) != (command.model, command.version):
        raise BundleError(f"the bundle is {manifest.name}@{manifest.version}, not {command.model}@{command.version}")
    reasons = unfit(manifest, request.facts)
    if reasons:
        raise BundleError(f"{manifest.name}@{manifest.version} is not for this device: {'; '.join(reasons)}")
    store.unpack(request.digest)
    return request.digest


def _progress() -> Callable[[int, int], None]:
    last = [-1]

    def report(done_bytes: int, total_bytes: int) -> None:
        step = _PROGRESS_STEPS * done_bytes // max(1, total_bytes)
        if step != last[0]:
            last[0] = step
            _say({"progress": [done_bytes, total_bytes]})

    return report


def _say(tree: dict[str, Any]) -> None:
    try:
        sys.stdout.write(json.dumps(tree) + "\n")
        sys.stdout.flush()
    except OSError as error:
        raise FetchError("nobody listens any more") from error


if __name__ == "__main__":
    raise SystemExit(main())
