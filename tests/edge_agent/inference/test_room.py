"""A candidate where two versions do not fit into memory: the serving one makes room, and comes back when the candidate is no good."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from engine_rig import Rig
from waiting import wait_for

from benchmarks.tiny_model import TinyBundle, make_bundle, nan_graph
from edge_agent.config import EngineConfig
from edge_agent.values import TrialReport


def tried(rig: Rig, bundle: TinyBundle) -> TrialReport:
    return rig.engine.try_candidate("tiny", bundle.digest, bundle.manifest, bundle.folder)


@pytest.fixture
def tight(make_rig: Callable[..., Rig]) -> Rig:
    """A board that lacks a little memory for a second copy, whatever the test machine has."""
    return make_rig(available=lambda: 31.9)


def test_the_serving_version_makes_room_and_no_sample_is_lost(tight: Rig) -> None:
    tight.replay(300, rate_hz=300)
    tight.wait_windows(20)
    assert tried(tight, tight.two).passed
    assert tight.wait_event("unloaded_first").data["version"] == "2.0.0"
    assert not tight.pids("worker") and tight.pids("candidate")
    tight.engine.switch("tiny", tight.two.digest)
    counters = tight.wait_ended().counters
    assert (counters.windows, counters.dropped, counters.failed) == (300, 0, 0)
    assert tight.lines()[-1]["version"] == "2.0.0"


def test_it_serves_again_when_the_candidate_is_no_good(tight: Rig) -> None:
    tight.replay(300, rate_hz=300)
    bad = make_bundle(tight.folder / "bad", version="3.0.0", graph=nan_graph())
    report = tried(tight, bad)
    assert not report.passed and "NaN" in report.reasons[0]
    counters = tight.wait_ended().counters
    assert (counters.windows, counters.dropped, counters.failed) == (300, 0, 0)
    assert {line["version"] for line in tight.lines()} == {"1.0.0"}


def test_it_serves_again_when_the_candidate_is_not_wanted(tight: Rig) -> None:
    assert tried(tight, tight.two).passed
    tight.engine.discard("tiny")
    wait_for(lambda: tight.engine.models()[0].state == "serving", what="the version before")


def test_a_device_may_refuse_to_unload(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(EngineConfig(swap="beside"), available=lambda: 31.9)
    report = tried(rig, rig.two)
    assert not report.passed and report.transient and "memory" in report.reasons[0]
    assert rig.engine.models()[0].state == "serving"


def test_what_does_not_fit_even_alone_is_refused_and_unloads_nothing(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(available=lambda: -1000.0)
    report = tried(rig, rig.two)
    assert not report.passed and report.transient
    assert "unloaded_first" not in rig.kinds() and rig.engine.models()[0].state == "serving"


def test_a_device_may_always_unload_first(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(EngineConfig(swap="unload_first"))
    assert tried(rig, rig.two).passed
    assert rig.wait_event("unloaded_first")
