"""An engine with one pipeline for the figures that need no broker: the tiny model, or a bundle with a recording."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.tiny_model import FolderStore, TinyBundle, linear_graph, make_bundle, write_samples
from edge_agent.bundle.archive import sha256_file, unpack
from edge_agent.clock import SystemClock, monotonic_s
from edge_agent.config import EngineConfig, PipelineConfig, SinkConfig, SourceConfig
from edge_agent.inference.engine import Engine
from edge_agent.values import Event, PipelineStatus, Prediction

PIPELINE = "bench"


@dataclass(frozen=True, slots=True)
class Bench:
    """A started engine that serves ``bundle``; ``other`` is a second version of it. Predictions come in as they are made."""

    engine: Engine
    bundle: TinyBundle
    other: TinyBundle
    recording: Path
    predictions: list[Prediction] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def run(self, windows: int, rate_hz: float) -> None:
        """Start the pipeline: ``windows`` samples at ``rate_hz``, in a loop over the recording."""
        options = {"path": self.recording, "rate_hz": rate_hz, "loop": True, "limit": windows}
        source = SourceConfig("replay", options)
        self.engine.add_pipeline(PipelineConfig(PIPELINE, self.bundle.manifest.name, source, (SinkConfig("mqtt", {}),)))

    def status(self) -> PipelineStatus:
        return self.engine.pipelines()[0]

    def wait_ended(self, timeout_s: float) -> PipelineStatus:
        """The final status, when the source has ended and all was worked off."""
        wait_until(lambda: self.status().state == "ended", timeout_s, "the end of the recording")
        return self.status()


@contextmanager
def bench_engine(bundle: Path | None = None, samples: Path | None = None) -> Iterator[Bench]:
    """The engine, ended with the block. With ``bundle`` (a packed one) ``samples`` is a recording that fits it, as .npz or .csv."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        folder = Path(name)
        one, other = (_unpacked(bundle, folder), _unpacked(bundle, folder)) if bundle else _tiny(folder)
        store = FolderStore()
        store.add(one, active=True)
        store.add(other)
        predictions: list[Prediction] = []
        events: list[Event] = []
        engine = Engine(
            store=store,
            clock=SystemClock(),
            report=events.append,
            config=EngineConfig(),
            runtimes=(one.manifest.runtime.name,),
            publish=lambda pipeline, suffix, prediction: predictions.append(prediction),
            on_crash_loop=lambda model, digest: None,
        )
        engine.start()
        try:
            engine.serve(one.manifest.name)
            recording = samples or write_samples(folder / "samples.npz", 100)
            yield Bench(engine, one, other, recording, predictions, events)
        finally:
            engine.stop()


def wait_until(done: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Look every 20 ms; ends the program when ``timeout_s`` passes first."""
    clock, pause = SystemClock(), threading.Event()
    deadline_s = monotonic_s(clock) + timeout_s
    while not done():
        if monotonic_s(clock) > deadline_s:
            raise SystemExit(f"not within {timeout_s:g} s: {what}")
        pause.wait(0.02)


def _tiny(folder: Path) -> tuple[TinyBundle, TinyBundle]:
    one = make_bundle(folder / "one")
    return one, make_bundle(folder / "two", version="2.0.0", graph=linear_graph(1), expected=(0, 10, 0))


def _unpacked(bundle: Path, folder: Path) -> TinyBundle:
    digest = sha256_file(bundle)
    where = folder / digest
    return TinyBundle(unpack(bundle, where), where, digest)
