"""A candidate that answers beside the serving version before it may serve."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from engine_rig import Rig

from benchmarks.tiny_model import TinyBundle, linear_graph, make_bundle, poisonable_graph
from edge_agent.bundle.manifest import Requirements
from edge_agent.config import EngineConfig
from edge_agent.pipeline.shadow import ShadowReport, differs, sum_of
from edge_agent.values import TrialReport


@pytest.fixture
def watched(make_rig: Callable[..., Rig]) -> Rig:
    rig = make_rig(EngineConfig(deadline_ms=400), shadow_s=1.0)
    rig.replay(100, rate_hz=200, loop=True)
    return rig


def tried(rig: Rig, bundle: TinyBundle) -> TrialReport:
    return rig.engine.try_candidate("tiny", bundle.digest, bundle.manifest, bundle.folder)


def test_disagreement_is_measured_and_told(watched: Rig) -> None:
    assert tried(watched, watched.two).passed
    data = watched.wait_event("shadowed").data
    assert data["windows"] > 20 and data["disagreed"] == data["windows"] and data["max_difference"] == pytest.approx(4.0)
    assert {line["label"] for line in watched.lines()} == {"a"}
    assert watched.status().counters.failed == 0


def test_a_candidate_that_nobody_wants_any_more_is_looked_at_no_longer(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(EngineConfig(), shadow_s=3600.0, unwanted=lambda: True)
    rig.replay(100, rate_hz=200, loop=True)
    tried(rig, rig.two)
    assert rig.kinds().count("shadowed") == 1


def test_a_candidate_that_agrees_is_told_so(watched: Rig) -> None:
    same = make_bundle(watched.folder / "same", version="1.0.1")
    assert tried(watched, same).passed
    data = watched.wait_event("shadowed").data
    assert data["windows"] > 20 and (data["disagreed"], data["max_difference"]) == (0, 0.0)


def test_a_bundle_may_limit_the_disagreement(watched: Rig) -> None:
    requires = Requirements(shadow_disagreement=0.5)
    other = make_bundle(watched.folder / "other", version="2.0.1", graph=linear_graph(1), expected=(0, 10, 0), requires=requires)
    report = tried(watched, other)
    assert not report.passed and "the bundle allows 50.0%" in report.reasons[0]
    assert watched.status().version == "1.0.0"


def test_a_candidate_that_hangs_on_real_windows_is_refused_and_delays_nobody(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(EngineConfig(deadline_ms=400), shadow_s=1.0)
    rig.replay(400, rate_hz=200, value=1e18)
    hanging = make_bundle(rig.folder / "hanging", version="3.0.0", graph=poisonable_graph())
    report = tried(rig, hanging)
    assert not report.passed and "failed on" in report.reasons[0]
    counters = rig.wait_ended().counters
    assert (counters.windows, counters.failed, counters.dropped) == (400, 0, 0)


def test_reports_add_up_and_verdicts_are_compared() -> None:
    one, two = ShadowReport("d", 3, 1, 0.5, 0), ShadowReport("d", 2, 0, 0.7, 1)
    assert sum_of("d", [one, two]) == ShadowReport("d", 5, 1, 0.7, 1)
    assert differs("a", (1.0, 2.0), "a", (1.5, 2.0)) == (False, 0.5)
    assert differs("a", (1.0,), "b", (1.0,)) == (True, 0.0)
    assert differs("a", (1.0,), "a", (1.0, 2.0)) == (True, 0.0)
    assert differs("a", (float("nan"),), "a", (1.0,))[1] == 0.0


def test_nobody_waits_for_a_comparison_with_a_version_that_made_room(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(EngineConfig(swap="unload_first"), shadow_s=600.0)
    rig.replay(100, rate_hz=200, loop=True)
    assert tried(rig, rig.two).passed
    assert "shadowed" not in rig.kinds()
    rig.engine.switch("tiny", rig.two.digest)
    rig.wait_windows(rig.status().counters.windows + 10)
