"""The four metadata files of a repository (The Update Framework, specification 1.0): read verified, written in the safe order.

A reader starts at ``timestamp.json``, which names a snapshot, which names a targets list. Numbered files are never changed once a timestamp
names them, and the timestamp is replaced last; so whoever reads, or whatever loses power, sees the old state or the new one.
Files are found by what the timestamp says, not by the highest number: an interrupted writer leaves numbers nobody refers to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError as TufError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from edge_agent.clock import Clock
from edge_agent.update.durable import write_durable
from fleet_controller.errors import RepositoryError

LIFETIME_DAYS: Mapping[str, int] = {"root": 3650, "targets": 365, "snapshot": 30, "timestamp": 30}
MAX_TARGETS_BYTES = 5_000_000
"""The longest list python-tuf's client accepts; about 20,000 bundles."""

_TIMESTAMP = "timestamp.json"


@dataclass(frozen=True, slots=True)
class Chain:
    """The current state, every signature checked against the root."""

    root: Metadata[Root]
    timestamp: Metadata[Timestamp]
    snapshot: Metadata[Snapshot]
    targets: Metadata[Targets]

    def expires(self) -> dict[str, datetime]:
        """When each role's metadata ends, UTC."""
        signed: dict[str, Any] = {
            "root": self.root.signed,
            "targets": self.targets.signed,
            "snapshot": self.snapshot.signed,
            "timestamp": self.timestamp.signed,
        }
        return {role: part.expires for role, part in signed.items()}


class MetadataFolder:
    """``public/metadata`` of a repository. The caller holds the repository's lock while writing."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock

    def exists(self) -> bool:
        return (self._folder / _TIMESTAMP).is_file()

    def read(self) -> Chain:
        """The current state. Raises :class:`RepositoryError` for a file that is missing, damaged or not signed by the root's keys.

        Expired metadata is read: renewing it is what a writer is for.
        """
        root: Metadata[Root] = self._load(self._latest("root"), Root)
        self._check(root, "root", root)
        timestamp: Metadata[Timestamp] = self._load(_TIMESTAMP, Timestamp)
        self._check(root, "timestamp", timestamp)
        snapshot: Metadata[Snapshot] = self._load(f"{timestamp.signed.snapshot_meta.version}.snapshot.json", Snapshot)
        self._check(root, "snapshot", snapshot)
        targets: Metadata[Targets] = self._load(f"{snapshot.signed.meta['targets.json'].version}.targets.json", Targets)
        self._check(root, "targets", targets)
        return Chain(root, timestamp, snapshot, targets)

    def create(self, signers: Mapping[str, CryptoSigner]) -> bytes:
        """Write the first version of everything; returns the root metadata to give to devices."""
        root = Root(expires=self._end("root"), consistent_snapshot=True)
        for role, signer in signers.items():
            root.add_key(signer.public_key, role)
        self._sign_and_write(Metadata(root), "root", signers, "1.root.json")
        chain = Chain(Metadata(root), Metadata(Timestamp()), Metadata(Snapshot()), Metadata(Targets()))
        self._write_targets(chain, signers, 1)
        self._write_snapshot(chain, signers, 1)
        self._write_timestamp(chain, signers, 1)
        return (self._folder / "1.root.json").read_bytes()

    def commit(self, chain: Chain, signers: Mapping[str, CryptoSigner]) -> None:
        """Make ``chain`` the current state: each role in ``signers`` gets a new version, a new expiry and a signature.

        Raises :class:`RepositoryError` when the list is too long for devices; StoreError or StoreFull when the disk is the reason.
        """
        for role, signer in signers.items():
            if signer.public_key.keyid not in chain.root.signed.roles[role].keyids:
                raise RepositoryError(f"the {role} key is not the one that the repository's root names; is it another repository's key?")
        if "targets" in signers:
            self._write_targets(chain, signers, self._next("targets", chain.targets.signed.version))
        interrupted = self._highest("snapshot") - chain.snapshot.signed.version
        if "snapshot" in signers:
            self._write_snapshot(chain, signers, self._next("snapshot", chain.snapshot.signed.version))
        # A power cut can undo a timestamp that a device has already seen. Its number is then skipped: reused for other
        # content, that device would take the new one for the one it knows.
        self._write_timestamp(chain, signers, chain.timestamp.signed.version + 1 + max(0, interrupted))

    def _write_targets(self, chain: Chain, signers: Mapping[str, CryptoSigner], version: int) -> None:
        signed = chain.targets.signed
        signed.version, signed.expires = version, self._end("targets")
        data = self._sign_and_write(chain.targets, "targets", signers, f"{version}.targets.json", limit_bytes=MAX_TARGETS_BYTES)
        chain.snapshot.signed.meta["targets.json"] = MetaFile.from_data(version, data, ["sha256"])

    def _write_snapshot(self, chain: Chain, signers: Mapping[str, CryptoSigner], version: int) -> None:
        signed = chain.snapshot.signed
        signed.version, signed.expires = version, self._end("snapshot")
        data = self._sign_and_write(chain.snapshot, "snapshot", signers, f"{version}.snapshot.json")
        chain.timestamp.signed.snapshot_meta = MetaFile.from_data(version, data, ["sha256"])

    def _write_timestamp(self, chain: Chain, signers: Mapping[str, CryptoSigner], version: int) -> None:
        signed = chain.timestamp.signed
        signed.version, signed.expires = version, self._end("timestamp")
        self._sign_and_write(chain.timestamp, "timestamp", signers, _TIMESTAMP)

    def _sign_and_write(
        self, metadata: Metadata[Any], role: str, signers: Mapping[str, CryptoSigner], name: str, *, limit_bytes: int = 0
    ) -> bytes:
        metadata.sign(signers[role])
        data: bytes = metadata.to_bytes()
        if limit_bytes and len(data) > limit_bytes:
            raise RepositoryError(f"{name}: the list of bundles would be {len(data)} bytes; devices read at most {limit_bytes}")
        write_durable(self._folder / name, data)
        return data

    def _load(self, name: str, kind: type[Any]) -> Metadata[Any]:
        path = self._folder / name
        try:
            metadata: Metadata[Any] = Metadata.from_bytes(path.read_bytes())
        except OSError as error:
            raise RepositoryError(f"{path}: cannot read: {error.strerror}") from None
        except DeserializationError as error:
            raise RepositoryError(f"{path}: damaged: {error}") from None
        if not isinstance(metadata.signed, kind):
            raise RepositoryError(f"{path}: is {metadata.signed.type} metadata, not what its name says")
        return metadata

    def _check(self, root: Metadata[Root], role: str, metadata: Metadata[Any]) -> None:
        # What is read here gets signed again; without this check, whoever can write to the public folder could have lies signed.
        try:
            root.signed.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        except TufError as error:
            raise RepositoryError(f"{self._folder}: the {role} metadata was changed after it was signed ({error})") from None

    def _end(self, role: str) -> datetime:
        now = datetime.fromtimestamp(self._clock.wall_ns() // 1_000_000_000, tz=timezone.utc)
        return now + timedelta(days=LIFETIME_DAYS[role])

    def _numbers(self, role: str) -> Iterable[int]:
        for path in self._folder.glob(f"*.{role}.json"):
            number = path.name.split(".", 1)[0]
            if number.isdecimal():
                yield int(number)

    def _highest(self, role: str) -> int:
        return max(self._numbers(role), default=0)

    def _next(self, role: str, current: int) -> int:
        return max(current, self._highest(role)) + 1

    def _latest(self, role: str) -> str:
        return f"{max(1, self._highest(role))}.{role}.json"
