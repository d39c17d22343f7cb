"""Models that do harm, each beside one that answers all the while: what they take down must be their own worker at most."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.assets.bundles import Specs, asked
from benchmarks.assets.stand import Stand
from benchmarks.bench_engine import wait_until
from benchmarks.tiny_model import linear_graph, poisonable_graph
from edge_agent.errors import EdgeError
from edge_agent.values import PipelineCounters, TensorSpec

GOOD = "good"
RATE_HZ = 200.0
MEANWHILE = 20
"""Windows that the good model must answer after each."""


@dataclass(frozen=True, slots=True)
class Harm:
    """What the engine said of ``model``, how many windows the other one ``answered`` meanwhile and how many it ``lost``."""

    model: str
    said: str
    answered: int
    lost: int


@dataclass(frozen=True, slots=True)
class Harmful:
    """``model`` with the tensors (inputs, outputs) that its manifest says; asked with ``value`` in every element. ``killed``: its worker
    dies after the first answer."""

    model: Path
    specs: tuple[Specs, Specs]
    value: float = 0.5
    killed: bool = False

    @property
    def title(self) -> str:
        return self.model.name


def harm(on: Stand, root: Path) -> tuple[Harm, ...]:
    """Each harmful model in turn, served and asked."""
    with _good(on):
        return tuple(_beside(on, harmful) for harmful in _harmful(on.room(), root))


def _beside(on: Stand, harmful: Harmful) -> Harm:
    before = on.status(GOOD).counters
    said = _tried(on, harmful)
    after = on.status(GOOD).counters.windows
    wait_until(lambda: on.status(GOOD).counters.windows >= after + MEANWHILE, 20.0, f"answers of the good model after {harmful.title}")
    now = on.status(GOOD)
    return Harm(harmful.title, said, now.counters.windows - before.windows, _lost(now.counters) - _lost(before) + now.restarts)


def _tried(on: Stand, harmful: Harmful) -> str:
    """What came of serving the model and asking it once."""
    feed = {spec.name: np.full([size or 1 for size in spec.shape], harmful.value, spec.dtype) for spec in harmful.specs[0]}
    try:
        with on.served(harmful.model, specs=harmful.specs) as bundle:
            name = bundle.manifest.name
            on.ask_served(name, {key: np.zeros_like(array) for key, array in feed.items()})
            if harmful.killed:
                _kill(on, name)
            on.ask_served(name, feed)
    except EdgeError as error:
        return str(error)
    return "answered"


def _kill(on: Stand, name: str) -> None:
    """As a heap that the model corrupted would."""
    for role, pid in on.engine.processes():
        if role == f"worker:{name}@1":
            os.kill(pid, signal.SIGSEGV)


def _lost(counters: PipelineCounters) -> int:
    return counters.failed + counters.dropped


@contextmanager
def _good(on: Stand) -> Iterator[None]:
    """A small model in a pipeline at ``RATE_HZ``, its recording in a loop."""
    room = on.room()
    model = room / f"{GOOD}.onnx"
    model.write_bytes(linear_graph().SerializeToString())
    np.savez(room / "recording.npz", x=np.ones((100, 4), np.float32))
    with on.served(model) as bundle:
        on.start(GOOD, bundle.manifest.name, room, loop=True, rate_hz=RATE_HZ)
        wait_until(lambda: on.status(GOOD).counters.windows > 0, 20.0, "the good model's first answer")
        yield


def _harmful(room: Path, root: Path) -> Iterator[Harmful]:
    """One whose worker crashes, one that never answers, one that is cut short, and of the awkward set the custom operator and damaged
    files; with tensors for a manifest, since no runtime tells them."""
    four, three = (TensorSpec("x", "float32", (1, 4)),), (TensorSpec("y", "float32", (1, 3)),)
    graphs = {"crashing": linear_graph(), "hanging": poisonable_graph(), "cut": linear_graph()}
    for name, graph in graphs.items():
        data = graph.SerializeToString()
        path = room / f"{name}.onnx"
        path.write_bytes(data[:-40] if name == "cut" else data)
        yield Harmful(path, (four, three), value=1e18, killed=name == "crashing")
    awkward = root / "12_awkward_models" / "tflite"
    one = (TensorSpec("x", "float32", (1,)),)
    custom, whole = awkward / "custom_op_fake-op-double.tflite", awkward / "hello_world_float.tflite"
    if custom.is_file():
        yield Harmful(custom, (one, one))
    if whole.is_file():
        yield from _damaged(whole, room)


def _damaged(whole: Path, room: Path) -> Iterator[Harmful]:
    """The same file with a run of bytes overwritten, at places through its length."""
    data, specs = whole.read_bytes(), asked(whole)
    for part in range(1, 8):
        at = len(data) * part // 8
        path = room / f"damaged{part}.tflite"
        path.write_bytes(data[:at] + b"\xff" * 32 + data[at + 32 :])
        yield Harmful(path, specs)
