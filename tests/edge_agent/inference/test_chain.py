"""Several models in one pipeline, one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from engine_rig import Rig

from benchmarks.tiny_model import linear_graph, make_bundle
from edge_agent.bundle.manifest import Step
from edge_agent.config import StageConfig
from edge_agent.errors import EdgeError


def second(rig: Rig, *, feed: str, when: tuple[str, ...] = ()) -> tuple[StageConfig, ...]:
    """A model ``after`` that answers c; from the three scores of the first when it is fed them."""
    steps = (Step("pad", {"before": [0], "after": [1]}),) if feed == "output" else ()
    bundle = make_bundle(rig.folder / "after", name="after", graph=linear_graph(2), expected=(0, 0, 10), preprocess=steps)
    rig.store.add(bundle, active=True)
    rig.engine.serve("after")
    return (StageConfig("after", feed, when),)


@pytest.mark.parametrize("feed", ["output", "window"])
def test_the_second_model_is_asked_after_the_first(rig: Rig, feed: str) -> None:
    rig.replay(50, then=second(rig, feed=feed))
    counters = rig.wait_ended().counters
    assert (counters.windows, counters.failed) == (50, 0)
    line = rig.lines()[0]
    assert (line["model"], line["label"], line["score"]) == ("after", "c", 4.0)
    assert [(v["model"], v["label"], v["score"]) for v in line["before"]] == [("tiny", "a", 4.0)]
    assert rig.engine.health("after").windows == rig.engine.health("tiny").windows == 50


def test_the_second_model_is_asked_only_for_the_labels_it_is_for(rig: Rig) -> None:
    rig.replay(20, then=second(rig, feed="window", when=("b",)))
    rig.wait_ended()
    assert {(line["model"], line["label"]) for line in rig.lines()} == {("tiny", "a")}
    assert rig.engine.health("after").windows == 0


def test_either_model_can_be_switched_and_die_without_a_loss(rig: Rig) -> None:
    rig.replay(400, rate_hz=400, then=second(rig, feed="window"))
    rig.wait_windows(20)
    for pid_number in (0, 1):
        rig.wait_windows(rig.status().counters.windows + 10)
        os.kill(rig.pids("worker")[pid_number], 9)
        rig.wait_event("worker_restarted", pid_number + 1)
    rig.engine.switch("tiny", rig.two.digest)
    after = make_bundle(rig.folder / "after2", name="after", version="2.0.0", graph=linear_graph(0))
    rig.store.add(after)
    rig.engine.switch("after", after.digest)
    counters = rig.wait_ended().counters
    assert (counters.windows, counters.failed, counters.dropped) == (400, 0, 0)
    last = rig.lines()[-1]
    assert (last["version"], last["before"][0]["version"]) == ("2.0.0", "2.0.0")


def test_a_pipeline_needs_all_its_models(rig: Rig) -> None:
    with pytest.raises(EdgeError, match="model after is not served"):
        rig.replay(10, then=(StageConfig("after"),))


def test_without_a_box_the_second_model_is_not_asked(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.replay(10, then=second(rig, feed="box"))
    rig.wait_ended()
    assert {line["model"] for line in rig.lines()} == {"tiny"}


def test_a_model_that_is_asked_second_is_not_unloaded_either(rig: Rig) -> None:
    rig.replay(10, then=second(rig, feed="window"))
    with pytest.raises(EdgeError, match="pipeline p uses it"):
        rig.engine.unload("after")
