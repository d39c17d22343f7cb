"""A pipeline whose model does not serve keeps nobody waiting, and runs once it does; whoever waits for a start stops at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest
from engine_rig import Rig
from waiting import wait_for

from benchmarks.tiny_model import write_samples
from edge_agent.clock import SystemClock
from edge_agent.config import EngineConfig, PipelineConfig, SourceConfig
from edge_agent.errors import EdgeError, ModelError
from edge_agent.inference.waits import Stopping, Waits


def pipeline(rig: Rig, name: str = "p", **options: object) -> PipelineConfig:
    path = write_samples(rig.folder / f"{name}.npz", 20)
    return PipelineConfig(name, "tiny", SourceConfig("replay", {"path": path, **options}), (rig.jsonl(name),))


def test_a_pipeline_of_a_model_that_does_not_load_waits_and_says_for_what(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(EngineConfig(crash_limit=1000), serve=False)
    (rig.one.folder / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError):
        rig.engine.serve("tiny")
    assert "it waits for model tiny" in rig.engine.open_pipeline(pipeline(rig))
    wait_for(lambda: rig.status().state == "waiting", what="the pipeline to wait")
    assert "it waits for model tiny (model.onnx" in rig.status().last_error
    assert rig.engine.models()[0].last_error.startswith("model.onnx")
    assert rig.engine.stalled_s() < 1
    rig.engine.switch("tiny", rig.two.digest)
    assert rig.wait_ended().counters.processed == 20
    assert rig.status().last_error == ""
    assert rig.engine.models()[0].last_error == ""
    assert rig.kinds().count("pipeline_started") == 1


def test_a_pipeline_whose_model_serves_runs_when_it_is_opened(rig: Rig) -> None:
    assert rig.engine.open_pipeline(pipeline(rig)) == ""
    assert rig.wait_ended().counters.processed == 20


def test_a_pipeline_that_is_refused_stays_to_be_seen_with_the_reason(rig: Rig) -> None:
    wrong = PipelineConfig("p", "tiny", SourceConfig("carrier-pigeon", {}), ())
    with pytest.raises(EdgeError, match="carrier-pigeon"):
        rig.engine.open_pipeline(wrong)
    assert rig.status().state == "failed"
    assert "carrier-pigeon" in rig.status().last_error


def test_an_engine_that_is_told_to_halt_waits_for_no_start(rig: Rig) -> None:
    rig.engine.halt()
    with pytest.raises(Stopping):
        rig.engine.serve("tiny")
    with pytest.raises(Stopping):
        rig.engine.open_pipeline(pipeline(rig))


def test_giving_up_ends_a_wait_that_is_under_way() -> None:
    waits, never, seen = Waits(SystemClock()), Future[None](), Future[BaseException]()

    def wait() -> None:
        try:
            waits.start_of(never, 600.0, "never")
        except Stopping as stopping:
            seen.set_result(stopping)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    waits.give_up()
    assert isinstance(seen.result(30), Stopping)


def test_what_a_model_is_run_with_is_told(rig: Rig) -> None:
    (model,) = rig.engine.models()
    assert (model.lane, model.pids, model.options) == ("isolated", (model.pid,), "threads 1")
