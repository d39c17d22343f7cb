"""Options tried on the board itself, while the model serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_for

from benchmarks.tiny_model import FolderStore, make_bundle, write_samples
from edge_agent import tuner as tuner_module
from edge_agent.clock import SystemClock
from edge_agent.config import EngineConfig, PipelineConfig, SinkConfig, SourceConfig
from edge_agent.inference.engine import Engine
from edge_agent.model_options import ModelOptions, rates_of
from edge_agent.runtimes.options import RuntimeOptions
from edge_agent.runtimes.tune import Choice
from edge_agent.tuner import Tuner

pytestmark = pytest.mark.timeout(120)
Told = list[tuple[str, str]]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[tuple[Engine, ModelOptions]]:
    """An engine whose options may be tried, with a pipeline at 100 Hz."""
    store = FolderStore()
    store.add(make_bundle(tmp_path / "one"), active=True)
    folder = tmp_path / "tuning"
    folder.mkdir()
    options = ModelOptions({}, 1, folder=folder, rates_hz={"tiny": 100.0})
    engine = Engine(
        store=store,
        clock=SystemClock(),
        report=lambda event: None,
        config=EngineConfig(),
        runtimes=("onnx",),
        publish=lambda *message: None,
        on_crash_loop=lambda *which: None,
        options=options.of,
    )
    engine.start()
    engine.serve("tiny")
    source = SourceConfig("replay", {"path": write_samples(tmp_path / "x.npz", 50), "rate_hz": 100, "loop": True})
    engine.add_pipeline(PipelineConfig("p", "tiny", source, (SinkConfig("jsonl", {"path": tmp_path / "out.jsonl"}),)))
    yield engine, options
    engine.stop()


@pytest.fixture
def tuner(serving: tuple[Engine, ModelOptions], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Told]]:
    """Starts a tuner that does not wait; what it tells."""
    monkeypatch.setattr(tuner_module, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(tuner_module, "LOOK_EVERY_S", 0.05)
    begun: list[Tuner] = []

    def begin(available: Callable[[], float | None] = lambda: None) -> Told:
        told: Told = []

        def say(kind: str, level: str, message: str, **data: Any) -> None:
            told.append((kind, message))

        begun.append(Tuner(*serving, say, available))
        begun[0].start()
        return told

    yield begin
    for one in begun:
        one.stop()


def test_a_version_is_tried_once_and_its_workers_start_anew_without_a_loss(
    serving: tuple[Engine, ModelOptions], tuner: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, options = serving
    first = engine.models()[0].pid
    chosen: list[Choice] = []
    tried = options.try_out

    def remember(version: Any) -> Choice:
        chosen.append(tried(version))
        return chosen[-1]

    monkeypatch.setattr(options, "try_out", remember)
    told = tuner()
    wait_for(lambda: told, 100, "the trial")
    assert told[0][0] == "tuned", told
    version = engine.versions()[0]
    if options.kept(version) is not None and len(chosen[0].tried) > 1:  # a busy machine's answer is not kept
        wait_for(lambda: engine.models()[0].pid != first, 20, "a fresh worker")
        assert options.of(version) == chosen[0].options
    wait_for(lambda: engine.pipelines()[0].counters.windows > 50, 20, "windows")
    counters = engine.pipelines()[0].counters
    assert (counters.failed, counters.dropped) == (0, 0)
    assert len(told) == len(chosen) == 1


def test_nothing_is_tried_while_memory_is_short(serving: tuple[Engine, ModelOptions], tuner: Callable[..., Told]) -> None:
    looked: list[int] = []

    def short() -> float:
        looked.append(1)
        return 1.0

    told = tuner(short)
    wait_for(lambda: len(looked) > 3, 20, "looks at the memory")
    assert told == []


def test_without_a_trial_options_are_the_profile_s(serving: tuple[Engine, ModelOptions]) -> None:
    engine, options = serving
    assert options.of(engine.versions()[0]) == RuntimeOptions(1)
    assert ModelOptions({}, 3).of(engine.versions()[0]) == RuntimeOptions(3)


def test_rates_come_from_the_sources_that_know_theirs() -> None:
    def pipeline(name: str, options: dict[str, Any], **more: Any) -> PipelineConfig:
        return PipelineConfig(name, "m", SourceConfig("replay", options), (), **more)

    assert rates_of([pipeline("a", {"rate_hz": 100}, hop=50), pipeline("b", {"rate_hz": 10})]) == {"m": 12.0}
    assert rates_of([pipeline("c", {})]) == {}
    assert rates_of([pipeline("d", {"rate_hz": 100}, length=10, length_s=1.0, hop_s=0.5)]) == {"m": 2.0}
