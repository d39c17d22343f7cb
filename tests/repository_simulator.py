"""A signed model repository in memory, served over real HTTP: signs on demand, counts requests, and misbehaves when told to."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, TargetFile, Targets, Timestamp

ROLES = ("root", "timestamp", "snapshot", "targets")
Answer = Callable[["Exchange"], None]


class Exchange(BaseHTTPRequestHandler):
    """One request. Overrides get it and answer as they like."""

    simulator: RepositorySimulator
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        self.simulator.requests[path] += 1
        self.simulator.ranges.append(self.headers.get("Range", ""))
        override = next((answer for prefix, answer in self.simulator.overrides.items() if path.startswith(prefix)), None)
        if override is not None:
            override(self)
        elif (data := self.simulator.files.get(path)) is not None:
            self.send_file(data)
        else:
            self.send_status(404)

    def send_status(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_file(self, data: bytes, *, cut_after: int | None = None, ranges: bool = True) -> None:
        """Send ``data`` from where the client wants it; ``cut_after`` bytes of the body the connection is dropped."""
        wanted = self.headers.get("Range", "") if ranges else ""
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start >= len(data) and wanted:
            self.send_status(416)
            return
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:] if cut_after is None else data[start : start + cut_after])
        if cut_after is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Silence: requests are counted, not logged."""


class RepositorySimulator:
    """``files`` is everything by path as it is served; ``sign_all`` makes it anew from ``root``, ``targets`` and so on."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.overrides: dict[str, Answer] = {}
        self.files: dict[str, bytes] = {}
        self.signers = {role: CryptoSigner.generate_ed25519() for role in ROLES}
        expires = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=30)
        self.root = Root(expires=expires, consistent_snapshot=True)
        self.timestamp, self.snapshot, self.targets = Timestamp(expires=expires), Snapshot(expires=expires), Targets(expires=expires)
        for role, signer in self.signers.items():
            self.root.add_key(signer.public_key, role)
        self.publish_root()
        self.sign_all()
        handler = type("Bound", (Exchange,), {"simulator": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> RepositorySimulator:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def trusted_root(self, folder: Path) -> Path:
        """The first root metadata as a file, as a device is born with it."""
        path = folder / "1.root.json"
        path.write_bytes(self.files["metadata/1.root.json"])
        return path

    def add(self, model: str, version: str, data: bytes, *, sign: bool = True) -> str:
        """Publish ``data`` as model@version; returns its path below the address."""
        digest = hashlib.sha256(data).hexdigest()
        path = f"{model}/{version}.edgemodel"
        target = TargetFile(len(data), {"sha256": digest}, path, unrecognized_fields={"custom": {"model": model, "version": version}})
        self.targets.targets[path] = target
        served = f"targets/{model}/{digest}.{version}.edgemodel"
        self.files[served] = data
        if sign:
            self.sign_all()
        return served

    def publish_root(self) -> None:
        self.files[f"metadata/{self.root.version}.root.json"] = self._signed("root", self.root)

    def rotate_root(self) -> None:
        """A new root key; the new root is signed by the old and the new one."""
        old = self.signers["root"]
        self.signers["root"] = CryptoSigner.generate_ed25519()
        self.root.revoke_key(old.public_key.keyid, "root")
        self.root.add_key(self.signers["root"].public_key, "root")
        self.root.version += 1
        metadata = Metadata(self.root)
        metadata.sign(self.signers["root"])
        metadata.sign(old, append=True)
        self.files[f"metadata/{self.root.version}.root.json"] = metadata.to_bytes()

    def sign_all(self) -> None:
        """New versions of targets, snapshot and timestamp."""
        for signed in (self.targets, self.snapshot, self.timestamp):
            signed.version += 1
        self.snapshot.meta["targets.json"] = MetaFile(self.targets.version)
        self.timestamp.snapshot_meta = MetaFile(self.snapshot.version)
        self.files[f"metadata/{self.targets.version}.targets.json"] = self._signed("targets", self.targets)
        self.files[f"metadata/{self.snapshot.version}.snapshot.json"] = self._signed("snapshot", self.snapshot)
        self.files["metadata/timestamp.json"] = self._signed("timestamp", self.timestamp)

    def _signed(self, role: str, signed: Signed) -> bytes:
        metadata = Metadata(signed)
        metadata.sign(self.signers[role])
        return metadata.to_bytes()
