"""What the control process and the updater process say to each other: one JSON request, then JSON lines.

A line is one of ``{"progress": [done_bytes, total_bytes]}``, ``{"digest": sha256}``, ``{"error": kind, "message": text}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge_agent.errors import (
    BundleError,
    EdgeError,
    FetchError,
    FetchRefused,
    StoreError,
    StoreFull,
    TrustError,
)
from edge_agent.update.compatibility import DeviceFacts
from edge_agent.update.journal import command_from_tree
from edge_agent.update.machine import UpdateCommand

_KINDS: Mapping[str, type[EdgeError]] = {
    kind.__name__: kind for kind in (BundleError, FetchError, FetchRefused, StoreError, StoreFull, TrustError)
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where things are: the store, the device's copy of the repository's metadata, the repository, the root it trusts.

    An empty ``repository`` means that updates come only from files and the store.
    """

    store: Path
    metadata: Path
    repository: str = ""
    trusted_root: Path | None = None
    max_bundle_bytes: int = 512 << 20


@dataclass(frozen=True, slots=True)
class Request:
    """``act`` is ``fetch`` or ``verify``; ``digest`` is what to verify; ``parent`` is the process that asks and must outlive the answer."""

    act: str
    command: UpdateCommand
    place: Place
    facts: DeviceFacts
    digest: str = ""
    parent: int = 0


def encode_request(request: Request) -> bytes:
    plain = replace(request, facts=replace(request.facts, runtimes=dict(request.facts.runtimes)))
    return json.dumps(asdict(plain), default=str).encode()


def decode_request(data: bytes) -> Request:
    """Raises ValueError, KeyError or TypeError; both ends are of one version, so this is a fault, not an input."""
    tree = json.loads(data)
    place = tree["place"]
    root = place.pop("trusted_root")
    store, metadata = Path(place.pop("store")), Path(place.pop("metadata"))
    return Request(
        act=tree["act"],
        command=command_from_tree(tree["command"]),
        place=Place(store, metadata, trusted_root=Path(root) if root else None, **place),
        facts=DeviceFacts(**tree["facts"]),
        digest=tree["digest"],
        parent=tree["parent"],
    )


def encode_error(error: EdgeError) -> dict[str, Any]:
    kind = type(error).__name__
    return {"error": kind if kind in _KINDS else "StoreError", "message": str(error)}


def decode_error(tree: Mapping[str, Any]) -> EdgeError:
    return _KINDS.get(str(tree.get("error")), StoreError)(str(tree.get("message")))
