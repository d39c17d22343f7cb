"""A signed model repository on disk: ``keys/`` stays here, ``public/`` is what devices may read.

::

    <repo>/keys/{root,targets,snapshot,timestamp}.pem            private keys, mode 0600
    <repo>/public/root.json                                      the trusted root every device is born with
    <repo>/public/metadata/                                      signed metadata, see ``signed_metadata``
    <repo>/public/targets/<model>/<sha256>.<version>.edgemodel   bundles, never changed once there

Everything is written durably, bundles before the metadata that names them. One writer at a time (``repository_lock``).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import TargetFile

from edge_agent.bundle.archive import EXTENSION, read_bundle, sha256_file
from edge_agent.clock import Clock
from edge_agent.update.durable import TEMP_PREFIX, fsync_dir, replace_durable, store_error, write_durable
from fleet_controller.errors import PublishRefused, RepositoryError
from fleet_controller.keys import key_path, load_key, make_keys
from fleet_controller.repository_lock import repository_lock
from fleet_controller.signed_metadata import LIFETIME_DAYS, Chain, MetadataFolder

ONLINE_ROLES = ("snapshot", "timestamp")
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """A published bundle."""

    model: str
    version: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Published:
    """``new`` is false when these very bytes were out already."""

    target: Target
    new: bool


class Repository:
    """One repository folder. ``keys`` may lie elsewhere; roles without a key file cannot sign here."""

    def __init__(self, folder: Path, clock: Clock, *, keys: Path | None = None, passphrase: bytes = b"") -> None:
        self.folder = folder
        self.public = folder / "public"
        self._keys = keys if keys is not None else folder / "keys"
        self._passphrase = passphrase
        self._clock = clock
        self._metadata = MetadataFolder(self.public / "metadata", clock)

    def init(self) -> Path:
        """Make an empty repository; returns the trusted root to give to devices. The folder appears whole or not at all.

        Raises :class:`RepositoryError` when the folder holds anything already; StoreError when it cannot be written.
        """
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise RepositoryError(f"{self.folder}: is not an empty folder; a new repository needs one of its own")
        aside: Path | None = None
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=TEMP_PREFIX, dir=self.folder.parent))
            aside.chmod(0o755)
            self._fill(aside)
            replace_durable(aside, self.folder)
        except OSError as error:
            raise store_error(error, self.folder, "make the repository") from error
        finally:
            if aside is not None:
                shutil.rmtree(aside, ignore_errors=True)
        return self.public / "root.json"

    def _fill(self, aside: Path) -> None:
        metadata = aside / "public" / "metadata"
        metadata.mkdir(parents=True)
        (aside / "public" / "targets").mkdir()
        keys = self._keys if not self._keys.is_relative_to(self.folder) else aside / self._keys.relative_to(self.folder)
        if keys.exists():
            raise RepositoryError(f"{keys}: exists already; keys are never written over")
        root = MetadataFolder(metadata, self._clock).create(make_keys(keys, self._passphrase))
        write_durable(aside / "public" / "root.json", root)
        for folder in (aside / "public", aside):
            fsync_dir(folder)

    def publish(self, bundle: Path) -> Published:
        """Check ``bundle`` whole and add it. The same bytes again change nothing.

        Raises BundleError, :class:`PublishRefused` when other bytes are out under this version, :class:`RepositoryError`,
        StoreError or StoreFull. What devices see is the old state or the new one at every moment.
        """
        with self._writing():
            chain = self._metadata.read()
            with self._aside(bundle) as copy:
                # The copy is what is checked and what is published: the original may change under our hands.
                manifest, _ = read_bundle(copy)
                target = Target(manifest.name, manifest.version, sha256_file(copy), copy.stat().st_size)
                if self._is_out(chain, target):
                    return Published(target, new=False)
                signers = self._signers(("targets", *ONLINE_ROLES))
                self._place(copy, target)
            chain.targets.signed.targets[target_path(target.model, target.version)] = _signed_entry(target)
            self._metadata.commit(chain, signers)
            return Published(target, new=True)

    def refresh(self) -> dict[str, datetime]:
        """Renew the short-lived signatures, and the list's own when less than half of its time is left and its key is here.

        Returns the expiry of every role. Raises :class:`RepositoryError`, StoreError.
        """
        with self._writing():
            chain = self._metadata.read()
            with_list = self._half_gone(chain, "targets") and key_path(self._keys, "targets").exists()
            self._metadata.commit(chain, self._signers(("targets", *ONLINE_ROLES) if with_list else ONLINE_ROLES))
            return chain.expires()

    def refresh_if_due(self) -> bool:
        """Renew snapshot or timestamp when less than half of their time is left; returns whether anything was written."""
        self._require()
        if not self._due(self._metadata.read()):
            return False
        with self._writing():
            chain = self._metadata.read()
            due = self._due(chain)
            if due:
                self._metadata.commit(chain, self._signers(due))
            return bool(due)

    def targets(self) -> tuple[Target, ...]:
        """Everything published, by model and version. Raises :class:`RepositoryError`."""
        self._require()
        entries = self._metadata.read().targets.signed.targets.values()
        return tuple(sorted((_target(entry) for entry in entries), key=lambda t: (t.model, t.version)))

    def find(self, model: str, version: str) -> Target | None:
        """The published bundle of ``model``@``version``."""
        return next((t for t in self.targets() if (t.model, t.version) == (model, version)), None)

    def expires(self) -> dict[str, datetime]:
        """When each role's metadata ends, UTC."""
        self._require()
        return self._metadata.read().expires()

    def _require(self) -> None:
        if not self._metadata.exists():
            raise RepositoryError(f"{self.folder}: not a model repository; make one with 'edge-fleet init {self.folder}'")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._require()
        with repository_lock(self.folder, self._clock):
            self._remove_torn()
            yield

    def _remove_torn(self) -> None:
        """What a writer that died has left; nothing refers to it."""
        for folder in (self.folder, self.public, self.public / "metadata"):
            for torn in folder.glob(f"{TEMP_PREFIX}*"):
                shutil.rmtree(torn, ignore_errors=True) if torn.is_dir() else torn.unlink(missing_ok=True)

    @contextmanager
    def _aside(self, bundle: Path) -> Iterator[Path]:
        """A synced copy of ``bundle`` on the repository's file system, under its own name."""
        if not bundle.is_file():
            raise RepositoryError(f"{bundle}: no such file")
        folder: Path | None = None
        try:
            folder = Path(tempfile.mkdtemp(prefix=TEMP_PREFIX, dir=self.folder))
            copy = folder / bundle.name
            with bundle.open("rb") as source, copy.open("xb") as target:
                shutil.copyfileobj(source, target, _COPY_BYTES)
                target.flush()
                os.fchmod(target.fileno(), 0o644)
                os.fsync(target.fileno())
            yield copy
        except OSError as error:
            raise store_error(error, self.folder, f"copy {bundle} into the repository") from error
        finally:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def _is_out(self, chain: Chain, target: Target) -> bool:
        entry = chain.targets.signed.targets.get(target_path(target.model, target.version))
        if entry is None:
            return False
        if entry.hashes.get("sha256") != target.sha256:
            raise PublishRefused(
                f"{target.model}@{target.version} is published already with other bytes (sha256 {entry.hashes['sha256'][:12]}..., "
                f"not {target.sha256[:12]}...); give the new bundle a new version"
            )
        return True

    def _place(self, copy: Path, target: Target) -> None:
        folder = self.public / "targets" / target.model
        if not folder.is_dir():
            folder.mkdir(mode=0o755)
            fsync_dir(folder.parent)
        replace_durable(copy, folder / f"{target.sha256}.{target.version}{EXTENSION}")

    def _signers(self, roles: Iterable[str]) -> dict[str, CryptoSigner]:
        return {role: load_key(self._keys, role, self._passphrase) for role in roles}

    def _due(self, chain: Chain) -> tuple[str, ...]:
        if self._half_gone(chain, "snapshot"):
            return ONLINE_ROLES
        return ("timestamp",) if self._half_gone(chain, "timestamp") else ()

    def _half_gone(self, chain: Chain, role: str) -> bool:
        now = datetime.fromtimestamp(self._clock.wall_ns() / 1e9, tz=timezone.utc)
        return chain.expires()[role] - now < timedelta(days=LIFETIME_DAYS[role]) / 2


def target_path(model: str, version: str) -> str:
    """The TUF target path of a bundle."""
    return f"{model}/{version}{EXTENSION}"


def _signed_entry(target: Target) -> TargetFile:
    custom = {"custom": {"model": target.model, "version": target.version}}
    return TargetFile(target.bytes, {"sha256": target.sha256}, target_path(target.model, target.version), custom)


def _target(entry: TargetFile) -> Target:
    custom = entry.custom or {}
    return Target(str(custom.get("model", "")), str(custom.get("version", "")), entry.hashes.get("sha256", ""), entry.length)
