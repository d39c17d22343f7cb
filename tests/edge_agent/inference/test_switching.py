from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from engine_rig import Rig
from waiting import wait_for

from benchmarks.tiny_model import make_bundle, nan_graph
from edge_agent.bundle.manifest import Step
from edge_agent.config import EngineConfig
from edge_agent.errors import EdgeError

SWITCHES = 20


def test_switching_back_and_forth_under_load_loses_no_sample(rig: Rig) -> None:
    rig.replay(200, rate_hz=100)
    for turn in range(SWITCHES):
        bundle = rig.two if turn % 2 == 0 else rig.one
        assert rig.engine.try_candidate("tiny", bundle.digest, bundle.manifest, bundle.folder).passed
        rig.engine.switch("tiny", bundle.digest)
        windows = rig.status().counters.windows
        wait_for(lambda seen=windows: rig.status().counters.windows > seen or rig.status().state == "ended")
    counters = rig.wait_ended().counters
    assert (counters.produced, counters.processed) == (200, 200)
    lines = rig.lines()
    assert [line["window_seq"] for line in lines] == list(range(200))
    assert {(line["version"], line["label"]) for line in lines} == {("1.0.0", "a"), ("2.0.0", "b")}
    assert rig.kinds().count("swapped") == SWITCHES
    wait_for(lambda: len(rig.pids("worker")) == 1)


def test_after_a_switch_no_answer_comes_from_the_old_version(rig: Rig) -> None:
    rig.replay(100, rate_hz=200, loop=True)
    rig.wait_windows(10)
    rig.engine.switch("tiny", rig.two.digest)
    switched = len(rig.lines())
    rig.wait_windows(switched + 20)
    assert {line["version"] for line in rig.lines()[switched + 1 :]} == {"2.0.0"}
    assert rig.status().version == "2.0.0"
    assert rig.engine.models()[0].version == "2.0.0"


def test_health_counts_from_the_switch(rig: Rig) -> None:
    rig.replay(100, rate_hz=200, loop=True)
    rig.wait_windows(100)
    rig.engine.switch("tiny", rig.two.digest)
    rig.kill("worker")
    rig.wait_event("worker_restarted")
    wait_for(lambda: rig.engine.health("tiny").windows >= 20)
    health = rig.engine.health("tiny")
    assert health.crashes == 1
    assert health.windows < rig.engine.progress() - 50
    assert health.infer_p95_us > 0


def test_switching_to_what_serves_changes_nothing(rig: Rig) -> None:
    worker = rig.pid("worker")
    rig.engine.switch("tiny", rig.one.digest)
    assert rig.pid("worker") == worker
    assert "swapped" not in rig.kinds()


def test_a_version_whose_steps_do_not_compile_is_not_switched_to(rig: Rig) -> None:
    bad = make_bundle(rig.folder / "bad", version="3.0.0", preprocess=(Step("levitate"),))
    rig.store.add(bad)
    rig.replay(100, rate_hz=200, loop=True)
    rig.replay(100, rate_hz=200, loop=True, name="q")
    rig.wait_windows(10)
    with pytest.raises(EdgeError, match="levitate"):
        rig.engine.switch("tiny", bad.digest)
    for name in ("p", "q"):
        rig.wait_windows(rig.status(name).counters.windows + 20, name)
        status = rig.status(name)
        assert (status.version, status.counters.failed) == ("1.0.0", 0)
    wait_for(lambda: len(rig.pids("worker")) == 1)
    assert rig.engine.models()[0].version == "1.0.0"


def test_a_version_that_does_not_load_is_not_switched_to(rig: Rig) -> None:
    (rig.two.folder / "model.onnx").write_bytes(b"not a model")
    rig.replay(100, rate_hz=200, loop=True)
    with pytest.raises(EdgeError, match=r"tiny@2\.0\.0"):
        rig.engine.switch("tiny", rig.two.digest)
    rig.wait_windows(rig.status().counters.windows + 20)
    assert rig.status().version == "1.0.0"


def test_the_old_worker_may_hang_while_its_pipeline_is_led_over(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(EngineConfig(deadline_ms=300, crash_limit=1000))
    rig.replay(300, rate_hz=200)
    rig.wait_windows(10)
    rig.kill("worker", signal.SIGSTOP)
    rig.engine.switch("tiny", rig.two.digest)
    counters = rig.wait_ended().counters
    assert (counters.processed, counters.failed) == (300, 0)
    assert rig.status().version == "2.0.0"
    wait_for(lambda: len(rig.pids("worker")) == 1)


def test_a_model_that_cannot_serve_can_be_switched_away_from(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(EngineConfig(crash_limit=1), serve=False)
    (rig.one.folder / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(EdgeError):
        rig.engine.serve("tiny")
    rig.engine.switch("tiny", rig.two.digest)
    rig.replay(10)
    assert rig.wait_ended().counters.processed == 10
    assert rig.engine.models()[0].state == "serving"


def test_a_version_that_answers_nan_can_be_switched_away_from(rig: Rig) -> None:
    rig.store.add(nan := make_bundle(rig.folder / "nan", version="3.0.0", graph=nan_graph()))
    rig.replay(100, rate_hz=200, loop=True)
    rig.engine.switch("tiny", nan.digest)
    rig.engine.switch("tiny", rig.two.digest)
    rig.wait_windows(rig.status().counters.windows + 10)
    assert rig.lines()[-1]["label"] == "b"


def test_a_model_taken_out_of_service_leaves_no_process_and_can_come_back(rig: Rig) -> None:
    rig.replay(100, rate_hz=200, loop=True)
    rig.wait_windows(5)
    rig.engine.switch("tiny", "")
    assert rig.engine.models() == ()
    assert rig.engine.pipelines() == ()
    wait_for(lambda: [role for role, _ in rig.engine.processes()] == ["zygote"], what="the processes ended")
    rig.wait_event("withdrawn")
    rig.engine.switch("tiny", rig.two.digest)
    rig.replay(20, name="q")
    assert rig.wait_ended("q").counters.processed == 20


def test_a_pipeline_that_goes_leaves_the_links_of_the_others_to_their_worker(rig: Rig) -> None:
    rig.replay(100, rate_hz=200, name="goes", loop=True)
    rig.replay(600, rate_hz=200, name="stays", loop=True)
    rig.wait_windows(20, "stays")
    rig.engine.switch("tiny", rig.two.digest)  # each has a link of its own to the new worker now, and one to unlink
    os.kill(next(pid for role, pid in rig.engine.processes() if role == "pipeline:goes"), signal.SIGKILL)
    rig.wait_event("pipeline_died")
    rig.wait_windows(rig.status("stays").counters.windows + 100, "stays")
    assert rig.status("stays").counters.failed == 0
    assert "worker_hung" not in rig.kinds()
