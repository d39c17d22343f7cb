"""The transfer of one bundle: goes on from the bytes that are there, takes no byte more than was signed, hashes the whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from urllib3 import BaseHTTPResponse

from edge_agent.errors import FetchError, StoreFull, TrustError
from edge_agent.update.durable import store_error
from edge_agent.update.http import CHUNK_BYTES, Http, status_error

SYNC_EVERY_BYTES = 8 << 20
"""What a power cut can take of a transfer at most."""

HEADROOM_BYTES = 1 << 20


def check_space(folder: Path, wanted_bytes: int) -> None:
    """Raises :class:`StoreFull` unless ``wanted_bytes`` and some headroom for the journal are free where ``folder`` is."""
    stats = os.statvfs(folder)
    free_bytes = stats.f_bavail * stats.f_frsize
    if free_bytes < wanted_bytes + HEADROOM_BYTES:
        raise StoreFull(
            f"{folder}: the update needs {_mib(wanted_bytes + HEADROOM_BYTES)} MiB and {_mib(free_bytes)} MiB are free; free some space"
        )


def download(url: str, path: Path, *, length: int, sha256: str, http: Http, progress: Callable[[int, int], None]) -> None:
    """Make ``path`` hold the ``length`` bytes behind ``url`` whose hash is ``sha256``; synced on return.

    A part that is already at ``path`` is continued with a Range request (RFC 9110 section 14). ``progress(done, total)`` in bytes.
    Raises :class:`FetchError` (try again), :class:`FetchRefused`, :class:`TrustError` when the bytes are not the signed ones
    (they are removed), :class:`StoreFull`, :class:`StoreError`.
    """
    try:
        have = path.stat().st_size if path.exists() else 0
        if have > length:
            path.unlink()
            have = 0
        if have < length:
            _transfer(url, path, have, length, http, progress)
        _prove(url, path, sha256, resumed=have > 0)
        progress(length, length)
    except TrustError:
        path.unlink(missing_ok=True)
        raise
    except OSError as error:
        raise store_error(error, path, "write the transfer") from error


def _transfer(url: str, path: Path, have: int, length: int, http: Http, progress: Callable[[int, int], None]) -> None:
    headers = {"Range": f"bytes={have}-"} if have else {}
    with path.open("ab") as file, http.get(url, headers) as response:
        if response.status == 416:
            file.truncate(0)
            raise FetchError(f"{url}: the server does not have the rest of the part kept here; the transfer starts again")
        start = _start(url, response, have, length)
        if start != have:
            file.truncate(start)
        try:
            done = _copy(url, response, file, start, length, progress)
        finally:
            # Whatever came is kept: the next attempt goes on from here, also after a power cut.
            file.flush()
            os.fsync(file.fileno())
    if done < length:
        raise FetchError(f"{url}: the transfer ended after {done} of {length} bytes")


def _start(url: str, response: BaseHTTPResponse, have: int, length: int) -> int:
    """Where the body begins: at ``have`` when the server honours the range, at 0 when it sends all."""
    if response.status == 206 and have and response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        return have
    if response.status != 200:
        raise FetchError(f"{url}: a range that was not asked for") if response.status == 206 else status_error(url, response.status)
    declared = response.headers.get("Content-Length", "")
    if declared.isdigit() and int(declared) != length:
        raise TrustError(f"{url}: the server sends {declared} bytes where {length} were signed")
    return 0


def _copy(url: str, response: BaseHTTPResponse, file: BinaryIO, start: int, length: int, progress: Callable[[int, int], None]) -> int:
    done = synced = start
    for chunk in response.stream(CHUNK_BYTES, decode_content=False):
        if done + len(chunk) > length:
            raise TrustError(f"{url}: the server sends more than the {length} bytes that were signed")
        file.write(chunk)
        done += len(chunk)
        if done - synced >= SYNC_EVERY_BYTES:
            file.flush()
            os.fdatasync(file.fileno())
            synced = done
        progress(done, length)
    return done


def _prove(url: str, path: Path, sha256: str, *, resumed: bool) -> None:
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    if hasher.hexdigest() == sha256:
        return
    if resumed:
        path.unlink()
        raise FetchError(f"{url}: the part kept from an earlier attempt was damaged; it was removed and the transfer starts again")
    raise TrustError(f"{url}: the bytes hash to {hasher.hexdigest()[:12]}... where {sha256[:12]}... was signed")


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f}"
