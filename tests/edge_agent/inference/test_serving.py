from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_rig import Rig
from waiting import wait_for

from benchmarks.tiny_model import make_bundle, poisonable_graph
from edge_agent.bundle.manifest import Step
from edge_agent.config import EngineConfig, PipelineConfig, SinkConfig, SourceConfig
from edge_agent.errors import ConfigError, EdgeError, ModelError

SAMPLES = 300


def test_every_sample_of_a_recording_becomes_a_prediction(rig: Rig) -> None:
    rig.replay(SAMPLES)
    status = rig.wait_ended()
    counters = status.counters
    assert (counters.produced, counters.processed, counters.windows) == (SAMPLES, SAMPLES, SAMPLES)
    assert (counters.dropped, counters.failed, counters.in_flight, counters.replayed) == (0, 0, 0, 0)
    lines = rig.lines()
    assert [line["window_seq"] for line in lines] == list(range(SAMPLES))
    assert {(line["label"], line["version"]) for line in lines} == {("a", "1.0.0")}
    assert lines[0]["scores"] == [4.0, 0.0, 0.0]
    assert rig.engine.progress() == SAMPLES
    assert rig.engine.health("tiny").windows == SAMPLES
    assert all(sum(snapshot.counts.values()) == SAMPLES for snapshot in status.latency.values())


@pytest.mark.parametrize(("length", "hop", "windows", "left"), [(4, 4, 10, 0), (4, 2, 19, 0), (7, 7, 5, 5), (2, 4, 10, 2)])
def test_samples_of_longer_windows_are_accounted_exactly(rig: Rig, length: int, hop: int, windows: int, left: int) -> None:
    reshape = (Step("select", {"channels": [0], "axis": 1}), Step("reshape", {"shape": [-1]}), Step("pad", {"before": [0], "after": [8]}))
    take = (*reshape, Step("select", {"channels": [0, 1, 2, 3], "axis": 0}))
    bundle = make_bundle(rig.folder / "windowed", version="3.0.0", preprocess=take)
    rig.store.add(bundle)
    rig.engine.switch("tiny", bundle.digest)
    rig.replay(40, length=length, hop=hop)
    wait_for(lambda: rig.status().state == "ended")
    counters = rig.status().counters
    assert (counters.produced, counters.windows, counters.failed) == (40, windows, 0)
    assert counters.in_flight == left
    assert counters.produced == counters.processed + counters.dropped + counters.failed + counters.in_flight


def test_samples_faster_than_the_model_are_dropped_and_counted(rig: Rig) -> None:
    rig.replay(5000, queue=8)
    counters = rig.wait_ended().counters
    assert counters.produced == 5000
    assert counters.dropped > 0
    assert counters.produced == counters.processed + counters.dropped


def test_a_window_the_model_refuses_is_failed_and_told_once(rig: Rig) -> None:
    bundle = make_bundle(rig.folder / "odd", version="3.0.0", preprocess=(Step("reshape", {"shape": [7]}),))
    rig.store.add(bundle)
    rig.engine.switch("tiny", bundle.digest)
    rig.replay(20)
    counters = rig.wait_ended().counters
    assert (counters.failed, counters.processed) == (20, 0)
    assert "reshape" in rig.wait_event("window_failed").message
    assert rig.kinds().count("window_failed") == 1
    assert "reshape" in rig.status().last_error
    assert rig.engine.health("tiny").errors == 20


def test_broker_messages_reach_an_mqtt_source_and_predictions_are_published(rig: Rig) -> None:
    source = SourceConfig("mqtt", {"topic": "sensors/a"})
    rig.engine.add_pipeline(PipelineConfig("p", "tiny", source, (SinkConfig("mqtt", {}),)))
    for _ in range(20):
        rig.engine.deliver("p", "sensors/a", b"[1, 2, 3, 4]")
    rig.engine.deliver("nobody", "sensors/a", b"[1, 2, 3, 4]")
    wait_for(lambda: len(rig.published) == 20)
    pipeline, _, prediction = rig.published[-1]
    assert pipeline == "p"
    assert (prediction.label, prediction.scores, prediction.model) == ("a", (10.0, 0.0, 0.0), "tiny")
    assert prediction.times.infer_us > 0


def test_a_recording_has_not_ended_while_its_last_window_is_with_the_model(rig: Rig) -> None:
    slow = make_bundle(rig.folder / "slow", version="3.0.0", graph=poisonable_graph())
    rig.store.add(slow)
    rig.engine.switch("tiny", slow.digest)
    path = rig.folder / "slow.csv"
    path.write_text("1,1000000,1,1\n")
    rig.engine.add_pipeline(PipelineConfig("p", "tiny", SourceConfig("replay", {"path": path}), ()))
    counters = rig.wait_ended().counters
    assert (counters.processed, counters.in_flight) == (1, 0)


def test_two_pipelines_share_a_worker(rig: Rig) -> None:
    rig.replay(SAMPLES, name="p")
    rig.replay(SAMPLES, name="q")
    for name in ("p", "q"):
        assert rig.wait_ended(name).counters.processed == SAMPLES
    assert len(rig.pids("worker")) == 1


def test_a_source_that_is_not_there_yet_is_opened_again_until_it_is(rig: Rig) -> None:
    path = rig.folder / "later.csv"
    rig.engine.add_pipeline(PipelineConfig("p", "tiny", SourceConfig("replay", {"path": path}), (rig.jsonl(),)))
    assert "later.csv" in rig.wait_event("source_lost").message
    path.write_text("1,2,3,4\n" * 10)
    rig.wait_event("source_back")
    assert rig.wait_ended().counters.processed == 10
    assert rig.kinds().count("source_lost") == 1


def test_a_sink_that_fails_is_told_once_and_the_pipeline_goes_on(rig: Rig) -> None:
    blocked = SinkConfig("jsonl", {"path": rig.folder / "no" / "such" / "folder" / "out.jsonl"})
    (rig.folder / "no").write_text("a file where a folder should be")
    rig.replay(50, sinks=(blocked,))
    assert rig.wait_ended().counters.processed == 50
    assert len(rig.lines()) == 50
    assert rig.kinds().count("sink_lost") == 1


def test_a_pipeline_whose_options_are_wrong_is_refused_with_the_reason(rig: Rig) -> None:
    wrong = PipelineConfig("p", "tiny", SourceConfig("carrier-pigeon", {}), ())
    with pytest.raises(ConfigError, match="carrier-pigeon"):
        rig.engine.add_pipeline(wrong)
    assert rig.engine.pipelines() == ()
    rig.replay(5)
    assert rig.wait_ended().counters.processed == 5


def test_a_pipeline_needs_a_served_model_and_a_free_name(rig: Rig) -> None:
    with pytest.raises(EdgeError, match="model other is not served"):
        rig.engine.add_pipeline(PipelineConfig("p", "other", SourceConfig("replay", {}), ()))
    rig.replay(1)
    with pytest.raises(EdgeError, match="one of this name"):
        rig.replay(1)


def test_serving_what_is_not_installed_or_does_not_load_is_an_error(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(EngineConfig(crash_limit=1), serve=False)
    with pytest.raises(EdgeError, match="other: no version is installed"):
        rig.engine.serve("other")
    (rig.one.folder / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"tiny@1\.0\.0"):
        rig.engine.serve("tiny")
    assert rig.loops == [("tiny", rig.one.digest)]
    (status,) = rig.engine.models()
    assert status.state == "failed"


def test_models_and_processes_are_listed_with_what_they_are(rig: Rig) -> None:
    rig.replay(SAMPLES, rate_hz=500)
    rig.wait_ended()
    roles = [role for role, _ in rig.engine.processes()]
    assert roles == ["zygote", "worker:tiny@1.0.0", "pipeline:p"]
    (model,) = rig.engine.models()
    assert (model.name, model.version, model.digest, model.state) == ("tiny", "1.0.0", rig.one.digest, "serving")
    assert model.rss_mib is not None and model.rss_mib > 1
    names = {pid: Path(f"/proc/{pid}/comm").read_text().strip() for _, pid in rig.engine.processes()}
    assert sorted(names.values()) == ["edge-p", "edge-tiny", "edge-zygote"]


def test_a_pipeline_without_progress_shows_as_stalled_and_one_at_rest_does_not(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(EngineConfig(deadline_ms=60_000, crash_limit=1000))
    rig.replay(1000, rate_hz=100)
    rig.wait_windows(5)
    worker = rig.kill("worker", signal.SIGSTOP)
    wait_for(lambda: rig.engine.stalled_s() > 1.5)
    os.kill(worker, signal.SIGCONT)
    wait_for(lambda: rig.engine.stalled_s() < 1.5)


def test_stopping_ends_every_process(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.replay(1000, rate_hz=100)
    pids = [pid for _, pid in rig.engine.processes()]
    assert len(pids) == 3
    rig.engine.stop()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    with pytest.raises(EdgeError, match="not running"):
        rig.engine.models()
