"""What every part of the engine works with, and what the outside world gave it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_agent.bundle.manifest import Manifest
from edge_agent.clock import Clock
from edge_agent.config import EngineConfig, ModelConfig
from edge_agent.inference.cgroup import Cgroups
from edge_agent.inference.loop import Loop
from edge_agent.inference.zygote_client import Tell, ZygoteClient
from edge_agent.runtimes.options import RuntimeOptions
from edge_agent.values import Prediction

AGAIN_S = 1.0
"""Until the next try when a process cannot be started for want of descriptors or memory."""


OptionsOf = Callable[["ModelVersion"], RuntimeOptions]
"""With which options the workers of a version run."""


@dataclass(frozen=True, slots=True)
class Context:
    """Shared by the engine's parts; all of it belongs to the loop's thread."""

    loop: Loop
    clock: Clock
    zygote: ZygoteClient
    config: EngineConfig
    tell: Tell
    publish: Callable[[str, str, Prediction], None]
    on_crash_loop: Callable[[str, str], None]
    models: Mapping[str, ModelConfig] = field(default_factory=dict)
    link_numbers: Iterator[int] = field(default_factory=itertools.count)
    options: OptionsOf | None = None
    cgroups: Cgroups | None = None
    default_model: ModelConfig = field(default_factory=lambda: ModelConfig(""))

    @property
    def silent_s(self) -> float:
        """When a process that asks models is stuck. One that runs a model itself says nothing while it does, and may take the deadline."""
        return max(self.config.silent_s, self.config.deadline_ms / 1000 + 2)

    def options_of(self, version: ModelVersion) -> RuntimeOptions:
        if self.options is not None:
            return self.options(version)
        return RuntimeOptions(self.config.threads, prepack=not (self.model(version.model).mapped and version.manifest.weights_files))

    def model(self, name: str) -> ModelConfig:
        """How ``name`` is to be run; the defaults for one that nobody configured."""
        return self.models.get(name) or replace(self.default_model, name=name)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A stored bundle that can be served. ``digest`` is the bundle's sha256, ``folder`` holds its files."""

    model: str
    digest: str
    manifest: Manifest
    folder: Path

    @property
    def title(self) -> str:
        return f"{self.model}@{self.manifest.version}"
