"""The pure rules: admission, retrying, health, compatibility."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import tiny_bundle

from edge_agent.bundle.manifest import Manifest, Requirements, RuntimeRequirement
from edge_agent.update.compatibility import DeviceFacts, unfit
from edge_agent.update.health import Baseline, Limits, complaints, rate_hz, too_slow, watched_enough
from edge_agent.update.machine import State, UpdateCommand, UpdateRecord
from edge_agent.update.policy import REPORTED, RetryPlan, admit, already_active, pending, retry_delay_s
from edge_agent.values import HealthSample
from edge_agent.versions import version_key

COMMAND = UpdateCommand("c2", "m", "2")
OTHER = UpdateCommand("c1", "m", "1")
FACTS = DeviceFacts("rpi4", "aarch64", 2048, "1.2.0", {"onnx": "1.20.1"})
GOOD = HealthSample(windows=100, errors=0, crashes=0, infer_p95_us=1000)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return tiny_bundle(tmp_path_factory.mktemp("b") / "b.edgemodel", name="m", version="2").manifest


def test_a_resting_machine_admits() -> None:
    assert admit(COMMAND, UpdateRecord(State.IDLE), now_ns=5) == ()
    assert admit(COMMAND, UpdateRecord(State.BROKEN, OTHER, result=REPORTED + "broken"), now_ns=5) == ()


def test_every_reason_is_given_at_once() -> None:
    bad = replace(COMMAND, deadline_ns=3, source="odd", digest="d" * 64)
    reasons = admit(bad, UpdateRecord(State.WATCHING, OTHER), now_ns=5, quarantined="it crashed")
    assert len(reasons) == 4
    assert [word for word in ("WATCHING", "'odd'", "deadline", "it crashed") if not any(word in r for r in reasons)] == []


def test_a_result_nobody_was_told_keeps_the_machine_busy() -> None:
    told, untold = UpdateRecord(State.IDLE, OTHER, result=REPORTED + "done"), UpdateRecord(State.IDLE, OTHER, result="done")
    assert not pending(told)
    assert pending(untold)
    assert admit(COMMAND, untold, now_ns=0)


def test_what_serves_is_recognised(manifest: Manifest) -> None:
    assert already_active(COMMAND, manifest, "d")
    assert not already_active(replace(COMMAND, version="3"), manifest, "d")
    assert not already_active(replace(COMMAND, digest="e"), manifest, "d")
    assert already_active(replace(COMMAND, digest="d"), manifest, "d")
    assert not already_active(replace(COMMAND, source="file"), manifest, "d")
    assert not already_active(COMMAND, None, "")


@given(attempt=st.integers(1, 10_000), seed=st.integers())
def test_back_off_is_jittered_capped_and_ends(attempt: int, seed: int) -> None:
    plan = RetryPlan(attempts=5000, first_s=1, cap_s=60)
    delay = retry_delay_s(plan, attempt, random.Random(seed))
    if attempt >= plan.attempts:
        assert delay is None
    else:
        assert delay is not None
        assert 0 <= delay <= min(60, 2 ** (min(attempt, 40) - 1))


def test_two_devices_do_not_wait_equally_long() -> None:
    plan = RetryPlan()
    assert len({retry_delay_s(plan, 5, random.Random(seed)) for seed in range(20)}) == 20


def test_a_model_as_good_as_before_passes() -> None:
    base = Baseline(GOOD, 10.0)
    assert complaints(base, GOOD, 10, Limits()) == ()
    assert watched_enough(base, GOOD, 10, 10)
    assert not watched_enough(base, GOOD, 9.9, 10)


@pytest.mark.parametrize(
    ("now", "word"),
    [
        (replace(GOOD, crashes=1), "crashed"),
        (replace(GOOD, errors=10), "failed on 9.1 %"),
        (HealthSample(0, 0, 0, 0.0), "no window"),
    ],
)
def test_each_harm_is_named(now: HealthSample, word: str) -> None:
    reasons = complaints(Baseline(GOOD, 10.0), now, 10, Limits())
    assert len(reasons) == 1
    assert word in reasons[0]


def test_latency_is_judged_with_a_margin_for_a_busy_board() -> None:
    base = Baseline(GOOD, 10.0)
    assert too_slow(base, replace(GOOD, infer_p95_us=13_000), Limits()) == ""
    assert "13001 us" in too_slow(base, replace(GOOD, infer_p95_us=13_001), Limits())
    assert too_slow(base, replace(GOOD, windows=19, infer_p95_us=99_999), Limits()) == "", "too few windows to say"
    assert too_slow(None, replace(GOOD, infer_p95_us=99_999), Limits()) == ""


def test_few_windows_prove_nothing_yet() -> None:
    assert complaints(Baseline(GOOD, 10.0), HealthSample(3, 3, 0, 99_999), 0.4, Limits()) == ()


def test_a_quiet_sensor_is_no_silence() -> None:
    silent = HealthSample(0, 0, 0, 0.0)
    assert complaints(Baseline(GOOD, 0.0), silent, 100, Limits()) == ()
    assert watched_enough(Baseline(GOOD, 0.0), silent, 100, 10)
    assert watched_enough(None, silent, 10, 10)
    assert complaints(Baseline(GOOD, 0.1), silent, 20, Limits()) == (), "two windows at most were due"
    assert complaints(Baseline(GOOD, 400.0), silent, 1.9, Limits()) == (), "what a fast one did may not have been told yet"
    assert complaints(Baseline(GOOD, 400.0), silent, 2.0, Limits())
    assert not watched_enough(Baseline(GOOD, 0.1), silent, 20, 10), "it must answer once, or be complained about"


def test_a_rate_never_is_negative() -> None:
    assert rate_hz(GOOD, HealthSample(5, 0, 0, 0), 1) == 0
    assert rate_hz(HealthSample(90, 0, 0, 0), GOOD, 2) == 5
    assert rate_hz(GOOD, GOOD, 0) == 0


def test_a_bundle_without_demands_fits(manifest: Manifest) -> None:
    assert unfit(manifest, FACTS) == ()


def test_every_misfit_is_named(manifest: Manifest) -> None:
    needs = Requirements(profiles=("rpi5",), arch=("x86_64",), ram_mib=4096, agent="1.3")
    picky = replace(manifest, requires=needs, runtime=RuntimeRequirement("onnx", "1.21"))
    reasons = unfit(picky, FACTS)
    assert [word for word in ("rpi5", "x86_64", "4096", "1.3", "1.21") if not any(word in r for r in reasons)] == []


@pytest.mark.parametrize(
    ("requirement", "fits"),
    [
        (RuntimeRequirement("onnx", "1.20.1"), True),
        (RuntimeRequirement("onnx", "1.9"), True),
        (RuntimeRequirement("onnx", "1.20.2"), False),
        (RuntimeRequirement("onnx", "", ("1.20.1",)), False),
        (RuntimeRequirement("onnx", "", ("1.20",)), True),
        (RuntimeRequirement("tflite"), False),
    ],
)
def test_the_runtime_must_be_there_and_work(manifest: Manifest, requirement: RuntimeRequirement, fits: bool) -> None:
    assert (unfit(replace(manifest, runtime=requirement), FACTS) == ()) == fits


@given(st.text())
def test_any_text_is_a_version_of_some_kind(text: str) -> None:
    assert all(n >= 0 for n in version_key(text))


def test_versions_compare_by_number(tmp_path: Path) -> None:
    assert version_key("1.21.0") == version_key("1.21") < version_key("v1.100rc1") < version_key("2.14.0+local.3")
