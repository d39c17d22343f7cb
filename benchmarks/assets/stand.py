"""A real engine that models are put through: as a pipeline from a recording to a file, or asked over the local API."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.assets.bundles import PLAIN, Around, Specs, as_it_is
from benchmarks.assets.v2 import V2Client
from benchmarks.bench_engine import wait_until
from benchmarks.tiny_model import FolderStore, TinyBundle
from edge_agent.addresses import Listener
from edge_agent.clock import SystemClock
from edge_agent.config import EngineConfig, PipelineConfig, SinkConfig, SourceConfig
from edge_agent.errors import EdgeError
from edge_agent.inference.engine import Engine
from edge_agent.inference.front import FrontConfig
from edge_agent.values import Event, PipelineStatus

MOST_S = 300.0
READY_S = 20.0
DEADLINE_MS = 60_000.0
"""Of one inference: the largest of the networks take a second on a small machine."""


class Stand:
    """The engine, its models in ``folder``, and what it told."""

    def __init__(self, engine: Engine, store: FolderStore, folder: Path, events: list[Event], listener: socket.socket) -> None:
        self.engine = engine
        self.events = events
        self.store = store
        self._folder, self._listener = folder, listener
        self._client: V2Client | None = None
        self._count = 0

    @contextmanager
    def served(self, model: Path, around: Around = PLAIN, specs: tuple[Specs, Specs] | None = None) -> Iterator[TinyBundle]:
        """``model`` as it is, served until the block ends. Raises EdgeError where it cannot be."""
        bundle = as_it_is(model, self._room(), around, specs=specs)
        self.store.add(bundle, active=True)
        name = bundle.manifest.name
        try:
            self.engine.serve(name)
            yield bundle
        finally:
            self.engine.switch(name, "")

    def stream(self, model: Path, samples: Any, around: Around = PLAIN, *, length: int = 1, hop: int = 1) -> list[dict[str, Any]]:
        """What a pipeline says of each window of ``samples`` (one a row), in order. Raises EdgeError when any window is lost."""
        room = self._room()
        np.savez(room / "recording.npz", x=samples)
        with self.served(model, around) as bundle:
            self.start("asset", bundle.manifest.name, room, length=length, hop=hop, queue=len(samples) + length + hop)
            wait_until(lambda: self.status("asset").state == "ended", MOST_S, f"the end of {model.name}")
            status = self.status("asset")
        lines = [json.loads(line) for path in (room / "said.jsonl",) if path.exists() for line in path.read_text().splitlines()]
        wanted = (len(samples) - length) // hop + 1
        if len(lines) != wanted:
            raise EdgeError(f"{model.name}: {len(lines)} of {wanted} windows were answered: {status.last_error or status.counters}")
        return lines

    def start(
        self,
        name: str,
        model: str,
        room: Path,
        *,
        length: int = 1,
        hop: int = 1,
        queue: int = 1024,
        loop: bool = False,
        rate_hz: float = 0.0,
    ) -> None:
        """A pipeline that replays the recording in ``room``."""
        source = SourceConfig("replay", {"path": room / "recording.npz", "rate_hz": rate_hz, "loop": loop})
        sink = SinkConfig("jsonl", {"path": room / "said.jsonl", "rotate_mib": 0})
        self.engine.add_pipeline(PipelineConfig(name, model, source, (sink,), length, hop, queue))

    def ask(self, model: Path, feeds: Iterable[Mapping[str, Any]], around: Around = PLAIN) -> list[dict[str, Any]]:
        """Every output for each of ``feeds`` (all inputs by name), over the local API."""
        known = list(feeds)
        sizes = {name: np.shape(array) for name, array in known[0].items()} | dict(around.sizes)
        with self.served(model, replace(around, sizes=sizes, golden=((known[0], {}),))) as bundle:
            return [self.ask_served(bundle.manifest.name, feed) for feed in known]

    def ask_served(self, name: str, feed: Mapping[str, Any]) -> dict[str, Any]:
        """Every output of a model that is served already. Raises ModelError with what the API said."""
        client = self._api()
        wait_until(lambda: client.ready(name), READY_S, f"{name} over the API")
        return client.ask(name, feed)

    def _api(self) -> V2Client:
        """The API, opened when it is first asked."""
        if self._client is None:
            host, port = self._listener.getsockname()
            listener = Listener(self._listener.fileno(), "tcp", f"{host}:{port}", token=False)
            self.engine.open_api(FrontConfig(), [listener], _no_call)
            self._client = V2Client(host, port)
        return self._client

    def status(self, pipeline: str) -> PipelineStatus:
        return next(status for status in self.engine.pipelines() if status.name == pipeline)

    def room(self) -> Path:
        """A new folder."""
        return self._room()

    def _room(self) -> Path:
        self._count += 1
        room = self._folder / str(self._count)
        room.mkdir()
        return room


@contextmanager
def stand(deadline_ms: float = DEADLINE_MS) -> Iterator[Stand]:
    """A started engine with its local API on a free port of the loopback interface, ended with the block."""
    events: list[Event] = []
    with tempfile.TemporaryDirectory(prefix="edge-assets-") as name, socket.create_server(("127.0.0.1", 0)) as listener:
        store = FolderStore()
        engine = Engine(
            store=store,
            clock=SystemClock(),
            report=events.append,
            config=EngineConfig(deadline_ms=deadline_ms),
            runtimes=("onnx", "tflite"),
            publish=lambda pipeline, suffix, prediction: None,
            on_crash_loop=lambda model, digest: None,
        )
        engine.start()
        try:
            yield Stand(engine, store, Path(name), events, listener)
        finally:
            engine.stop()


def _no_call(call: str, model: str, done: Any) -> None:
    done("this stand loads models itself")
