"""The engine in a process of its own (``programs/stand.py``), as a server like the others: with the API, a pipeline, or both."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmarks.inference.bundles import bundle_of, share_equal_files
from benchmarks.inference.nets import NETS, Net
from benchmarks.inference.processes import Process
from benchmarks.inference.server import STOP_TIMEOUT_S, Server, ServerFailed

RECORDED = 50
MODULE = "benchmarks.inference.programs.stand"


@dataclass(frozen=True, slots=True)
class Play:
    """A pipeline: ``samples`` (0: no end) of a recording at ``rate_hz``, and what happens when the model is slower."""

    rate_hz: float
    samples: int = 0
    policy: str = "drop_oldest"
    queue: int = 1024


@dataclass(frozen=True, slots=True)
class Order:
    """What is to stand. ``versions``: name and seed of each, the first one serves first. ``engine``: keys of the engine's configuration."""

    net: str = "sense"
    versions: tuple[tuple[str, int], ...] = (("1", 0), ("2", 1))
    external: bool = False
    mapped: bool = False
    lane: str = "isolated"
    api: bool = True
    play: Play | None = None
    engine: Mapping[str, Any] = field(default_factory=dict)


class Stand(Server):
    """Started, it serves; :meth:`swap` leads everyone to another version."""

    title = "edge-agent"

    def __init__(self, room: Path, order: Order) -> None:
        super().__init__(room)
        self.order = order
        self.predictions = room / "predictions.jsonl"

    @property
    def net(self) -> Net:
        return NETS[self.order.net]

    def command(self) -> Sequence[str]:
        order, play = self.order, self.order.play
        np.savez(self.room / "recording.npz", x=np.stack([self.net.sample(seed).ravel() for seed in range(RECORDED)]))
        folders = {version: self.room / "bundles" / version for version, _ in order.versions}
        made = [bundle_of(self.net, folders[v], version=v, seed=seed, external=order.external) for v, seed in order.versions]
        share_equal_files(made)
        told = {
            "model": order.net,
            "bundles": list(map(str, folders.values())),
            "lane": order.lane,
            "mapped": order.mapped,
            "port": self.port if order.api else 0,
            "rate_hz": play.rate_hz if play else 0,
            "samples": play.samples if play else 0,
            "policy": play.policy if play else "",
            "queue": play.queue if play else 0,
            "recording": str(self.room / "recording.npz"),
            "predictions": str(self.predictions),
            "engine": dict(order.engine),
        }
        (self.room / "order.json").write_text(json.dumps(told))
        return [sys.executable, "-m", MODULE, str(self.room / "order.json")]

    def ready_paths(self) -> Sequence[str]:
        return ["/v2/health/ready", f"/v2/models/{self.order.net}/ready"] if self.order.api else []

    def spawn(self, command: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        paths = f"{Path(__file__).resolve().parents[2]}:{environment.get('PYTHONPATH', '')}"
        pipe, told = subprocess.PIPE, {**environment, "PYTHONPATH": paths}
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, env=told, start_new_session=True, cwd=self.room)

    def wait_ready(self, deadline_s: float) -> None:
        self._answer()
        super().wait_ready(deadline_s)

    def model_processes(self) -> list[Process]:
        workers = {pid for role, pid in self.status()["processes"] if role.startswith("worker:")}
        return [process for process in self.processes() if process.pid in workers]

    def swap(self, version: int) -> None:
        """Lead everyone to the version at this place of ``versions``. Raises ServerFailed when it is refused."""
        self._ask({"do": "swap", "version": version})

    def reload(self, model: str) -> None:
        """To the other of two versions."""
        serving = self.status()["models"][0]["version"]
        self.swap(int(self.order.versions[0][0] == serving))

    def status(self) -> dict[str, Any]:
        """``models``, ``pipelines``, ``processes`` (role, pid), ``events``, as the engine tells them."""
        return self._ask({"do": "status"})

    def stop(self) -> float:
        stdin = self.process.stdin
        if stdin is not None and not stdin.closed:
            stdin.close()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pass
        try:
            return super().stop()
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise ServerFailed(f"the stand ended with {self.process.wait()}: {self.said(1500)}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ServerFailed(f"the stand: {answer['error']}")
        return answer
