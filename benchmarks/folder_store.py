"""A store that is a folder, for benchmarks and tests: nothing durable, and nothing that a control process does not carry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_agent.bundle.manifest import Manifest


@dataclass(frozen=True, slots=True)
class TinyBundle:
    """An unpacked bundle."""

    manifest: Manifest
    folder: Path
    digest: str


class FolderStore:
    """Bundles in memory, their files in a folder, pointers in a dictionary: the engine's view of a store, nothing durable."""

    def __init__(self) -> None:
        self._bundles: dict[str, TinyBundle] = {}
        self._active: dict[str, str] = {}
        self._previous: dict[str, str] = {}

    def add(self, bundle: TinyBundle, *, active: bool = False) -> None:
        self._bundles[bundle.digest] = bundle
        if active:
            self.set_active(bundle.manifest.name, bundle.digest)

    def active(self, model: str) -> str:
        return self._active.get(model, "")

    def previous(self, model: str) -> str:
        return self._previous.get(model, "")

    def models(self) -> tuple[str, ...]:
        return tuple(self._active)

    def set_active(self, model: str, digest: str) -> None:
        if self._active.get(model) != digest:
            self._previous[model] = self._active.get(model, "")
            self._active[model] = digest

    def manifest(self, digest: str) -> Manifest:
        return self._bundles[digest].manifest

    def folder(self, digest: str) -> Path:
        return self._bundles[digest].folder

    def find(self, model: str, version: str) -> str:
        return next((d for d, b in self._bundles.items() if (b.manifest.name, b.manifest.version) == (model, version)), "")

    def quarantine(self, digest: str, reason: str) -> None:
        pass

    def quarantined(self, digest: str) -> str:
        return ""
