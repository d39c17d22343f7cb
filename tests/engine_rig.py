"""An engine under test with real processes, and what it told."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from waiting import wait_for

from benchmarks.tiny_model import FolderStore, TinyBundle, write_samples
from edge_agent.config import PipelineConfig, SinkConfig, SourceConfig
from edge_agent.inference.engine import Engine
from edge_agent.values import Event, PipelineStatus, Prediction


@dataclass
class Rig:
    """The engine under test and what it told."""

    folder: Path
    store: FolderStore
    one: TinyBundle
    two: TinyBundle
    engine: Engine
    events: list[Event] = field(default_factory=list)
    published: list[tuple[str, str, Prediction]] = field(default_factory=list)
    loops: list[tuple[str, str]] = field(default_factory=list)

    def pids(self, role: str) -> list[int]:
        return [pid for name, pid in self.engine.processes() if name.split(":")[0] == role]

    def pid(self, role: str) -> int:
        """The process of ``role``, once there is one."""
        return wait_for(lambda: self.pids(role), what=f"a {role}")[0]

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def wait_event(self, kind: str, count: int = 1) -> Event:
        """The ``count``-th event of ``kind``."""
        wait_for(lambda: self.kinds().count(kind) >= count, what=f"event {kind} number {count}, of {self.kinds()}")
        return [event for event in self.events if event.kind == kind][count - 1]

    def replay(
        self,
        samples: int,
        *,
        rate_hz: float = 0.0,
        name: str = "p",
        loop: bool = False,
        value: float = 1.0,
        length: int = 1,
        hop: int = 1,
        queue: int = 1024,
        sinks: tuple[SinkConfig, ...] = (),
        **more: Any,
    ) -> None:
        """Add a pipeline that replays ``samples`` samples."""
        path = write_samples(self.folder / f"{name}.npz", samples, value=value)
        options: dict[str, Any] = {"path": path, "rate_hz": rate_hz, "loop": loop}
        source = SourceConfig("replay", options)
        self.engine.add_pipeline(PipelineConfig(name, "tiny", source, (self.jsonl(name), *sinks), length, hop, queue, **more))

    def jsonl(self, name: str = "p") -> SinkConfig:
        return SinkConfig("jsonl", {"path": self.folder / f"{name}.jsonl"})

    def lines(self, name: str = "p") -> list[dict[str, Any]]:
        path = self.folder / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def status(self, name: str = "p") -> PipelineStatus:
        return next(status for status in self.engine.pipelines() if status.name == name)

    def wait_windows(self, count: int, name: str = "p") -> None:
        wait_for(lambda: self.status(name).counters.windows >= count, what=f"{count} windows of {name}")

    def wait_ended(self, name: str = "p", timeout_s: float = 20.0) -> PipelineStatus:
        """The status once the source gave its last sample and all was worked off."""
        wait_for(lambda: self.status(name).state == "ended", timeout_s, f"the end of {name}: {self.status(name)}")
        return self.status(name)

    def kill(self, role: str, number: int = signal.SIGKILL) -> int:
        pid = self.pid(role)
        os.kill(pid, number)
        return pid
