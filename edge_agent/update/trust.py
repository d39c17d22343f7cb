"""Which bytes are model@version: the signed metadata of the repository, by The Update Framework.

The rules are python-tuf's client (https://theupdateframework.github.io/specification/latest/, section 5). What is added here is
what a device needs around it: time-outs, errors of our tree, and metadata that survives power loss. That client replaces
its files without syncing them and writes its root anew at each start; so it works on a copy in memory-backed storage, and only what
differs afterwards is written, durably, root first. Newer metadata that verified is kept even when a later file
fails, as the specification asks: an attacker cannot go back to before it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tuf.api import exceptions
from tuf.api.metadata import TargetFile
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from edge_agent.clock import Clock, monotonic_s
from edge_agent.errors import EdgeError, FetchError, FetchRefused, StoreError, TrustError
from edge_agent.update.durable import TEMP_PREFIX, store_error, write_durable
from edge_agent.update.http import CHUNK_BYTES, Http, status_error

SUFFIX = ".edgemodel"
_HISTORY = "root_history"
_MEMORY = Path("/dev/shm")
_METADATA_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """A bundle as the repository signed it. ``path`` is below the repository's address, with the hash in the file name."""

    path: str
    length: int
    sha256: str


class _MetadataFetcher(FetcherInterface):
    """python-tuf's seam to the network; sizes are bounded by its caller, patience here."""

    def __init__(self, http: Http, clock: Clock) -> None:
        super().__init__()
        self._http = http
        self._clock = clock

    def _fetch(self, url: str) -> Iterator[bytes]:
        deadline_s = monotonic_s(self._clock) + _METADATA_PATIENCE_S
        with self._http.get(url) as response:
            if response.status != 200:
                raise exceptions.DownloadHTTPError(str(status_error(url, response.status)), response.status)
            for chunk in response.stream(CHUNK_BYTES, decode_content=False):
                if monotonic_s(self._clock) > deadline_s:
                    raise exceptions.SlowRetrievalError(f"{url}: slower than {_METADATA_PATIENCE_S:.0f} s")
                yield chunk


class Trust:
    """The device's view of one repository. ``trusted_root`` is the root metadata the device was born with."""

    def __init__(self, metadata_dir: Path, base_url: str, trusted_root: Path, clock: Clock, *, timeout_s: float = 30.0) -> None:
        self._dir = metadata_dir
        self._base = base_url.rstrip("/")
        self._trusted_root = trusted_root
        self._fetcher = _MetadataFetcher(Http(timeout_s), clock)

    def target(self, model: str, version: str) -> TargetInfo:
        """Refresh the metadata and look ``model``@``version`` up.

        Raises :class:`TrustError` for anything that does not verify, :class:`FetchError` when the network fails,
        :class:`FetchRefused` when the repository does not have it, :class:`StoreError` when metadata cannot be kept.
        """
        path = f"{model}/{version}{SUFFIX}"
        found = self._look_up(path)
        if found is None:
            raise FetchRefused(f"{self._base}: the repository has no {model}@{version}")
        sha256 = found.hashes.get("sha256", "")
        if len(sha256) != 64 or found.length < 1:
            raise TrustError(f"{path}: the signed metadata has no sha256 or no length")
        custom = found.custom if isinstance(found.custom, dict) else {}
        if (custom.get("model"), custom.get("version")) != (model, version):
            raise TrustError(f"{path}: the signed metadata calls this target {custom.get('model')}@{custom.get('version')}")
        first_hash = next(iter(found.hashes.values()))
        return TargetInfo(f"targets/{quote(model)}/{first_hash}.{quote(version)}{SUFFIX}", found.length, sha256)

    def _look_up(self, path: str) -> TargetFile | None:
        try:
            root = self._trusted_root.read_bytes()
        except OSError as error:
            raise TrustError(
                f"{self._trusted_root}: cannot read the trusted root metadata ({error.strerror}); "
                "copy 1.root.json of the repository to the device"
            ) from error
        try:
            with _scratch(self._dir) as scratch:
                copy = Path(scratch)
                self._restore(copy)
                try:
                    return self._ask(copy, root, path)
                finally:
                    self._keep(copy)
        except OSError as error:
            raise store_error(error, self._dir, "keep the metadata") from error

    def _ask(self, copy: Path, root: bytes, path: str) -> TargetFile | None:
        url = f"{self._base}/metadata/"
        try:
            updater = Updater(str(copy), url, fetcher=self._fetcher, config=UpdaterConfig(), bootstrap=root)
            updater.refresh()
            return updater.get_targetinfo(path)
        except exceptions.DownloadHTTPError as error:
            raise type(status_error(url, error.status_code))(str(error)) from error
        except exceptions.DownloadLengthMismatchError as error:
            raise TrustError(f"{url}: metadata is larger than allowed: {error}") from error
        except exceptions.DownloadError as error:
            cause = error.__cause__
            raise cause if isinstance(cause, EdgeError) else FetchError(f"{url}: {cause or error}") from error
        except exceptions.RepositoryError as error:
            raise TrustError(f"{url}: {_explain(error)}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise TrustError(f"{url}: metadata that makes no sense: {error}") from error

    def _restore(self, copy: Path) -> None:
        (copy / _HISTORY).mkdir()
        for path in _metadata_files(self._dir):
            shutil.copyfile(path, copy / path.relative_to(self._dir))

    def _keep(self, copy: Path) -> None:
        (self._dir / _HISTORY).mkdir(parents=True, exist_ok=True)
        for torn in self._dir.rglob(f"{TEMP_PREFIX}*"):
            torn.unlink()
        for path in _metadata_files(copy):
            final = self._dir / path.relative_to(copy)
            data = path.read_bytes()
            if not final.exists() or final.read_bytes() != data:
                write_durable(final, data)


def _scratch(metadata_dir: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder for one refresh of ``metadata_dir``, in memory where there is such a place.

    Who is killed leaves it behind, and there it would take memory until the board starts anew; so the next one removes it. There is one
    updater at a time for each ``metadata_dir``, whose hash is in the name.
    """
    place = _MEMORY if _MEMORY.is_dir() else Path(tempfile.gettempdir())
    prefix = f"edge-trust-{hashlib.sha256(bytes(metadata_dir.absolute())).hexdigest()[:12]}-"
    for left in place.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    return tempfile.TemporaryDirectory(prefix=prefix, dir=place)


def _metadata_files(folder: Path) -> list[Path]:
    """Root versions in order, then the rest in the order in which they vouch for each other."""
    roots = sorted((folder / _HISTORY).glob("*.root.json"), key=lambda path: int(path.name.split(".")[0]))
    order = {"timestamp.json": 0, "snapshot.json": 1}
    others = [path for path in folder.glob("*.json") if path.name != "root.json" and not path.is_symlink()]
    return roots + sorted(others, key=lambda path: (order.get(path.name, 2), path.name))


def _explain(error: exceptions.RepositoryError) -> str:
    kinds = {
        exceptions.UnsignedMetadataError: "not signed by enough trusted keys",
        exceptions.ExpiredMetadataError: "expired; publish again, and check this device's clock",
        exceptions.BadVersionNumberError: "older than what this device has already seen",
        exceptions.LengthOrHashMismatchError: "does not match the signed length or hash",
    }
    what = next((text for kind, text in kinds.items() if isinstance(error, kind)), "not valid")
    return f"the metadata is {what} ({error})"


__all__ = ["SUFFIX", "StoreError", "TargetInfo", "Trust"]
