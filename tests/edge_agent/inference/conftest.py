"""Engines with real processes, two tiny versions in their store, and replay sources."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_rig import Rig

from benchmarks.tiny_model import FolderStore, linear_graph, make_bundle
from edge_agent.clock import SystemClock
from edge_agent.config import EngineConfig
from edge_agent.inference.engine import Engine
from edge_agent.values import Event, Prediction


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Makes started engines; they are stopped at the end of the test."""
    rigs: list[Rig] = []

    def make(
        config: EngineConfig | None = None,
        *,
        trial_timeout_s: float = 20.0,
        serve: bool = True,
        python: str = sys.executable,
        **options: Any,
    ) -> Rig:
        store = FolderStore()
        one = make_bundle(tmp_path / "one")
        two = make_bundle(tmp_path / "two", version="2.0.0", graph=linear_graph(1), expected=(0, 10, 0))
        store.add(one, active=True)
        store.add(two)
        events: list[Event] = []
        published: list[tuple[str, str, Prediction]] = []
        loops: list[tuple[str, str]] = []
        engine = Engine(
            store=store,
            clock=SystemClock(),
            report=events.append,
            config=config or EngineConfig(crash_limit=1000),
            runtimes=("onnx",),
            publish=lambda *message: published.append(message),
            on_crash_loop=lambda *which: loops.append(which),
            python=python,
            trial_timeout_s=trial_timeout_s,
            **options,
        )
        rig = Rig(tmp_path, store, one, two, engine, events, published, loops)
        rigs.append(rig)
        engine.start()
        if serve:
            engine.serve("tiny")
        return rig

    yield make
    for rig in rigs:
        rig.engine.stop()
    errors = [event for rig in rigs for event in rig.events if event.kind == "internal_error"]
    assert not errors


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """An engine that serves tiny@1.0.0 and has no pipeline yet."""
    return make_rig()
