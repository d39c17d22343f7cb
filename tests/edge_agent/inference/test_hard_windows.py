"""Windows that stop or kill whoever works on them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from engine_rig import Rig

from benchmarks.tiny_model import make_bundle, poisonable_graph
from edge_agent.config import EngineConfig, ModelConfig, PipelineConfig, SourceConfig


@pytest.fixture
def poisoned(make_rig: Callable[..., Rig]) -> Rig:
    """An engine whose model turns endlessly on a reading of 1e18."""
    rig = make_rig(EngineConfig(deadline_ms=300, crash_limit=1000))
    bundle = make_bundle(rig.folder / "poisonable", version="3.0.0", graph=poisonable_graph())
    rig.store.add(bundle)
    rig.engine.switch("tiny", bundle.digest)
    return rig


def replay(rig: Rig, lines: str) -> None:
    path = rig.folder / "poisoned.csv"
    path.write_text(lines)
    rig.engine.add_pipeline(PipelineConfig("p", "tiny", SourceConfig("replay", {"path": path}), (rig.jsonl(),)))


def test_an_endless_inference_is_stopped_and_its_worker_lives_on(poisoned: Rig) -> None:
    worker = poisoned.pid("worker")
    replay(poisoned, "1,2,3,4\n" * 20 + "1,1e18,1,1\n" + "1,2,3,4\n" * 20)
    counters = poisoned.wait_ended().counters
    assert (counters.processed, counters.failed) == (40, 1)
    assert poisoned.kinds().count("worker_hung") == 2
    assert poisoned.pids("worker") == [worker] and "worker_died" not in poisoned.kinds()
    assert poisoned.lines()[-1]["window_seq"] == 40


def test_values_that_hung_two_attempts_are_not_tried_again(poisoned: Rig) -> None:
    replay(poisoned, "1,1e18,1,1\n" * 30 + "1,2,3,4\n" * 10)
    counters = poisoned.wait_ended().counters
    assert (counters.processed, counters.failed) == (10, 30)
    assert poisoned.kinds().count("worker_hung") == 2
    assert "killed the model's worker twice" in poisoned.wait_event("window_failed", 2).message


def test_a_model_that_runs_in_the_pipeline_and_turns_endlessly_takes_only_the_pipeline(make_rig: Callable[..., Rig]) -> None:
    models = (ModelConfig("tiny", lane="inline"),)
    rig = make_rig(EngineConfig(deadline_ms=500, silent_s=2.0, crash_limit=2), models=models, serve=False)
    bundle = make_bundle(rig.folder / "poisonable", version="3.0.0", graph=poisonable_graph())
    rig.store.add(bundle)
    rig.engine.serve("tiny", bundle.digest)
    replay(rig, "1,1e18,1,1\n" * 5)
    rig.wait_event("pipeline_stuck", 2)
    rig.wait_event("pipeline_died", 2)
    assert rig.loops == [("tiny", bundle.digest)]
