from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from engine_rig import Rig
from waiting import wait_for

from benchmarks.tiny_model import linear_graph, make_bundle
from edge_agent.config import EngineConfig, ModelConfig
from edge_agent.errors import EdgeError


@pytest.fixture
def inline(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig(EngineConfig(crash_limit=3), models=(ModelConfig("tiny", lane="inline"),))


def test_in_the_inline_lane_the_model_runs_in_the_pipeline(inline: Rig) -> None:
    inline.replay(50)
    status = inline.wait_ended()
    assert status.counters.windows == 50 and status.counters.in_flight == 0
    assert not inline.pids("worker")
    assert {line["label"] for line in inline.lines()} == {"a"}


def test_an_inline_model_is_tried_in_a_process_of_its_own_and_switched_without_a_loss(inline: Rig) -> None:
    inline.replay(400, rate_hz=400)
    inline.wait_windows(20)
    report = inline.engine.try_candidate("tiny", inline.two.digest, inline.two.manifest, inline.two.folder)
    assert report.passed and inline.pids("candidate")
    inline.engine.switch("tiny", inline.two.digest)
    status = inline.wait_ended()
    assert status.counters.windows == 400 and status.counters.failed == 0 and status.version == "2.0.0"
    assert [line["label"] for line in inline.lines()] == sorted(line["label"] for line in inline.lines())
    wait_for(lambda: not inline.pids("candidate"))


def test_an_inline_model_that_kills_its_pipeline_again_and_again_is_a_crash_loop(inline: Rig) -> None:
    inline.replay(100, rate_hz=100, loop=True)
    for death in range(3):
        inline.wait_windows(1)
        inline.kill("pipeline", signal.SIGSEGV)
        inline.wait_event("pipeline_died", death + 1)
        wait_for(lambda: inline.pids("pipeline") and inline.status().counters.windows > 0, what="the pipeline again")
    assert inline.loops == [("tiny", inline.one.digest)]
    assert inline.engine.health("tiny").crashes == 3


def test_as_many_workers_as_the_model_is_given_serve_and_come_back(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(models=(ModelConfig("tiny", workers=3),))
    assert len(wait_for(lambda: pids if len(pids := rig.pids("worker")) == 3 else None, what="three workers")) == 3
    rig.replay(300, rate_hz=300)
    os.kill(rig.pids("worker")[1], signal.SIGKILL)
    rig.wait_event("worker_restarted")
    assert rig.wait_ended().counters.windows == 300
    rig.engine.switch("tiny", rig.two.digest)
    wait_for(lambda: len(rig.pids("worker")) == 3 and rig.engine.models()[0].version == "2.0.0", what="three of the new version")


def test_a_model_can_be_unloaded_and_loaded_again(rig: Rig) -> None:
    rig.engine.unload("tiny")
    wait_for(lambda: not rig.pids("worker"))
    assert rig.engine.models()[0].state == "unloaded"
    rig.engine.load("tiny")
    assert rig.engine.models()[0].state == "serving"
    rig.replay(10)
    assert rig.wait_ended().counters.windows == 10


def test_a_model_that_a_pipeline_needs_is_not_unloaded(rig: Rig) -> None:
    rig.replay(10)
    with pytest.raises(EdgeError, match="pipeline p uses it"):
        rig.engine.unload("tiny")


def test_a_pipeline_that_falls_silent_is_started_again(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(EngineConfig(silent_s=2.0, deadline_ms=500))
    rig.replay(100, rate_hz=100, loop=True)
    stopped = rig.kill("pipeline", signal.SIGSTOP)
    rig.wait_event("pipeline_stuck")
    wait_for(lambda: rig.pids("pipeline") not in ([], [stopped]), what="another pipeline process")
    rig.wait_windows(10)


def test_a_version_for_the_inline_lane_that_does_not_load_leaves_the_old_one_serving(inline: Rig) -> None:
    inline.replay(100, rate_hz=200, loop=True)
    bad = make_bundle(inline.folder / "bad", version="3.0.0", graph=linear_graph())
    (bad.folder / "model.onnx").write_bytes(b"no model")
    inline.store.add(bad)
    with pytest.raises(EdgeError):
        inline.engine.switch("tiny", bad.digest)
    inline.wait_windows(inline.status().counters.windows + 10)
    assert inline.status().version == "1.0.0"
