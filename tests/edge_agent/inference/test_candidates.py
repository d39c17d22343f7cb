from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest
from engine_rig import Rig
from waiting import wait_for

from benchmarks.tiny_model import TinyBundle, endless_graph, linear_graph, make_bundle, nan_graph
from edge_agent.bundle.manifest import Requirements
from edge_agent.values import TrialReport


def tried(rig: Rig, bundle: TinyBundle) -> TrialReport:
    return rig.engine.try_candidate("tiny", bundle.digest, bundle.manifest, bundle.folder)


def still_serves(rig: Rig) -> None:
    """The first version answers, and no candidate is left."""
    rig.wait_windows(rig.status().counters.windows + 10)
    assert rig.status().version == "1.0.0"
    assert rig.status().counters.failed == 0
    wait_for(lambda: not rig.pids("candidate"))


@pytest.fixture
def busy(make_rig: Callable[..., Rig]) -> Rig:
    rig = make_rig(trial_timeout_s=4.0)
    rig.replay(100, rate_hz=200, loop=True)
    return rig


def test_a_good_candidate_passes_waits_and_is_the_very_process_that_serves(busy: Rig) -> None:
    report = tried(busy, busy.two)
    assert report.passed and not report.reasons
    assert report.runs >= 30 and report.latency_p95_ms > 0 and report.peak_rss_mib > 1
    candidate = busy.pid("candidate")
    assert busy.status().version == "1.0.0"
    busy.engine.switch("tiny", busy.two.digest)
    assert busy.pids("worker")[0] == candidate
    assert not busy.pids("candidate")


def test_a_candidate_that_is_not_wanted_is_ended(busy: Rig) -> None:
    assert tried(busy, busy.two).passed
    busy.engine.discard("tiny")
    still_serves(busy)


@pytest.mark.parametrize(
    ("graph", "expected", "reason"),
    [
        (linear_graph(2), (10, 0, 0), "wrong answers on 1 of 1"),
        (nan_graph(), (10, 0, 0), "NaN"),
        (linear_graph(), (10, 0, 0.5), "largest error 0.5"),
    ],
    ids=["wrong", "nan", "tolerance"],
)
def test_a_candidate_with_wrong_answers_is_refused(busy: Rig, graph: object, expected: tuple[float, ...], reason: str) -> None:
    bundle = make_bundle(busy.folder / "bad", version="3.0.0", graph=graph, expected=expected)  # type: ignore[arg-type]
    report = tried(busy, bundle)
    assert not report.passed and not report.transient
    assert reason in report.reasons[0]
    still_serves(busy)


def test_a_candidate_that_hangs_is_refused_after_the_time_bound(busy: Rig) -> None:
    report = tried(busy, make_bundle(busy.folder / "endless", version="3.0.0", graph=endless_graph()))
    assert not report.passed
    assert "no result within 4 s" in report.reasons[0]
    still_serves(busy)


@pytest.mark.parametrize(("number", "transient"), [(signal.SIGSEGV, False), (signal.SIGKILL, True)])
def test_a_candidate_that_dies_is_refused(busy: Rig, number: int, transient: bool) -> None:
    bundle = make_bundle(busy.folder / "endless", version="3.0.0", graph=endless_graph())
    reports: list[TrialReport] = []
    trial = threading.Thread(target=lambda: reports.append(tried(busy, bundle)))
    trial.start()
    os.kill(busy.pid("candidate"), number)
    trial.join()
    assert not reports[0].passed and reports[0].transient == transient
    assert signal.Signals(number).name in reports[0].reasons[0]
    still_serves(busy)


def test_a_candidate_that_does_not_load_is_refused(busy: Rig) -> None:
    (busy.two.folder / "model.onnx").write_bytes(b"not a model")
    report = tried(busy, busy.two)
    assert not report.passed and "tiny@2.0.0" in report.reasons[0]
    still_serves(busy)


def test_a_candidate_over_its_own_budget_is_refused_with_every_reason(busy: Rig) -> None:
    requires = Requirements(latency_p95_ms=1e-6, peak_rss_mib=0.5)
    report = tried(busy, make_bundle(busy.folder / "big", version="3.0.0", requires=requires))
    assert not report.passed
    assert ["too slow" in report.reasons[0], "too large" in report.reasons[1]] == [True, True]
    still_serves(busy)
