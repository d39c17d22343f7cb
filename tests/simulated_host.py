"""A device's serving side, simulated for tests of updates: it serves what it is told and behaves as each bundle's version says.

``wrong`` fails its trial, ``heavy`` does not fit just now, ``stuck`` dies at the switch, ``sick`` crashes while watched,
``slow`` takes long; all others are well.
"""

from __future__ import annotations

from pathlib import Path

from edge_agent.bundle.manifest import Manifest
from edge_agent.errors import ModelError, WorkerDied
from edge_agent.update.store import FileStore
from edge_agent.values import HealthSample, TrialReport


class SimulatedHost:
    """The ModelHost port. ``serving`` is what answers, by model; ``refused`` are digests that it cannot switch to."""

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self.serving: dict[str, str] = {}
        self.candidates: dict[str, str] = {}
        self.refused: set[str] = set()
        self.started: list[str] = []
        for model in store.models():
            self.serving[model] = store.active(model)

    def try_candidate(self, model: str, digest: str, manifest: Manifest, folder: Path) -> TrialReport:
        assert (folder / manifest.model_file.path).is_file()
        self.started.append(manifest.version)
        if manifest.version == "wrong":
            return TrialReport(False, 1.0, 1.0, 1.0, ("wrong answers on 2 of 2 golden inputs",), runs=2)
        if manifest.version == "heavy":
            return TrialReport(False, 0.0, 0.0, 0.0, ("not enough memory",), transient=True)
        self.candidates[model] = digest
        return TrialReport(True, 0.0, 1.0, 1.0, runs=2)

    def switch(self, model: str, digest: str) -> None:
        if digest in self.refused:
            raise ModelError(f"{digest[:12]} cannot be loaded")
        if digest and self._store.manifest(digest).version == "stuck":
            raise WorkerDied("the worker died as it began to serve")
        if digest:
            self.serving[model] = digest
        else:
            self.serving.pop(model, None)
        self.candidates.pop(model, None)

    def discard(self, model: str) -> None:
        self.candidates.pop(model, None)

    def health(self, model: str) -> HealthSample:
        digest = self.serving.get(model, "")
        version = self._store.manifest(digest).version if digest else ""
        return HealthSample(windows=100, errors=0, crashes=int(version == "sick"), infer_p95_us=50_000.0 if version == "slow" else 1000.0)
