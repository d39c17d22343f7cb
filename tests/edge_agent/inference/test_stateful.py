"""Models with state behind real processes: a worker that dies, and a new version, while the stream goes on."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flat_nets import IMAGE, operator_file
from stateful_nets import CHANNELS, STATE_IN, STATE_OUT, gru_onnx
from waiting import wait_for

from benchmarks.assets.bundles import Around, as_it_is
from benchmarks.assets.stand import Stand, stand
from benchmarks.tiny_model import TinyBundle
from edge_agent.bundle.manifest import StatePair, StateSpec
from edge_agent.runtimes.tflite import TfliteRuntime

SAMPLES = 240
RATE_HZ = 120.0
PAIRS = (StatePair(STATE_IN, STATE_OUT),)


def recording(room: Path) -> None:
    np.savez(room / "recording.npz", x=np.random.default_rng(3).normal(0, 1, (SAMPLES, CHANNELS)).astype(np.float32))


def answers(on: Stand, room: Path) -> list[Any]:
    """The scores of every window, once the recording has ended."""
    wait_for(lambda: on.status("s").state == "ended", 30.0, "the end of the recording")
    return [json.loads(line)["scores"] for line in (room / "said.jsonl").read_text().splitlines()]


def windows(on: Stand) -> int:
    return on.status("s").counters.windows


def undisturbed(model: Path) -> list[Any]:
    with stand() as on:
        room = on.room()
        recording(room)
        with on.served(model, Around(state=StateSpec(PAIRS))) as bundle:
            on.start("s", bundle.manifest.name, room)
            return answers(on, room)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gru_onnx(tmp_path_factory.mktemp("gru") / "gru.onnx")


@pytest.fixture(scope="module")
def expected(model: Path) -> list[Any]:
    return undisturbed(model)


def test_windows_are_computed_from_the_ones_before(expected: list[Any]) -> None:
    assert len(expected) == SAMPLES
    assert len({tuple(scores) for scores in expected}) == SAMPLES


def test_a_worker_killed_again_and_again_changes_no_bit_of_any_answer(model: Path, expected: list[Any]) -> None:
    with stand() as on:
        room = on.room()
        recording(room)
        with on.served(model, Around(state=StateSpec(PAIRS))) as bundle:
            on.start("s", bundle.manifest.name, room, rate_hz=RATE_HZ)
            for kill in range(4):
                wait_for(lambda at=40 * (kill + 1): windows(on) >= at, 20.0, "windows before the next kill")
                workers = [pid for role, pid in on.engine.processes() if role.startswith("worker:")]
                os.kill(workers[0], signal.SIGKILL)
            assert answers(on, room) == expected


@pytest.mark.parametrize(("on_swap", "same"), [("carry", True), ("reset", False)])
def test_a_new_version_carries_the_state_on_or_begins_anew_as_it_says(on_swap: str, same: bool, model: Path, expected: list[Any]) -> None:
    with stand() as on:
        room = on.room()
        recording(room)
        with on.served(model, Around(state=StateSpec(PAIRS))) as bundle:
            newer = as_it_is(model, on.room(), Around(state=StateSpec(PAIRS, on_swap=on_swap)))
            newer = TinyBundle(replace(newer.manifest, version="2"), newer.folder, "2" * 64)
            on.store.add(newer)
            on.start("s", bundle.manifest.name, room, rate_hz=RATE_HZ)
            wait_for(lambda: windows(on) >= SAMPLES // 3, 20.0, "windows of the first version")
            on.engine.switch(bundle.manifest.name, newer.digest)
            assert windows(on) < SAMPLES
            given = answers(on, room)
    assert len(given) == SAMPLES
    assert given[: SAMPLES // 3] == expected[: SAMPLES // 3]
    assert (given == expected) is same


def test_state_inside_a_graph_passes_its_trial_and_lasts_from_window_to_window(tmp_path: Path) -> None:
    model = tmp_path / "lstm.tflite"
    model.write_bytes(operator_file("lstm"))
    frames = np.random.default_rng(5).normal(0, 1, (20, *IMAGE)).astype(np.float32)
    state = StateSpec(in_graph="keep")
    alone = TfliteRuntime(model, keep_state=True)
    name, output = alone.inputs[0].name, alone.outputs[0].name
    wanted = [alone.run({name: frame})[output].ravel().tolist() for frame in frames]
    with stand() as on:
        room = on.room()
        np.savez(room / "recording.npz", x=frames.reshape(20, -1))
        first = golden(model, frames[0])
        trial = as_it_is(model, on.room(), Around(state=state, golden=(first, golden(model, frames[7]))))
        assert on.engine.try_candidate(trial.manifest.name, trial.digest, trial.manifest, trial.folder).reasons == ()
        on.engine.discard(trial.manifest.name)
        with on.served(model, Around(state=state, golden=(first,))) as bundle:
            on.start("s", bundle.manifest.name, room)
            assert answers(on, room) == wanted


def golden(model: Path, frame: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a fresh model answers to ``frame``."""
    runtime = TfliteRuntime(model)
    feed = {runtime.inputs[0].name: frame}
    return feed, runtime.run(feed)
