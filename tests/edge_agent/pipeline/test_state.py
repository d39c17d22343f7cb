"""A model's state in one stream: it changes with accepted answers only, so that whatever dies, no answer does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stateful_nets import CHANNELS, STATE_IN, STATE_OUT, UNITS, gru_onnx

from edge_agent.bundle.manifest import FileEntry, Manifest, RuntimeRequirement, StatePair, StateSpec
from edge_agent.errors import ModelError
from edge_agent.pipeline.state import ModelState
from edge_agent.runtimes.onnx import OnnxRuntime
from edge_agent.values import TensorSpec

WINDOWS = 12
CARRY = StateSpec((StatePair(STATE_IN, STATE_OUT),), on_swap="carry")


def gru_manifest(state: StateSpec | None = None) -> Manifest:
    return Manifest(
        name="gru",
        version="1",
        runtime=RuntimeRequirement("onnx"),
        files=(FileEntry("model.onnx", "model", 1, "0" * 64),),
        inputs=(TensorSpec("x", "float32", (1, CHANNELS)), TensorSpec(STATE_IN, "float32", (None, UNITS))),
        outputs=(TensorSpec("y", "float32", (1, 2)), TensorSpec(STATE_OUT, "float32", (1, UNITS))),
        state=state or StateSpec((StatePair(STATE_IN, STATE_OUT),)),
    )


class Worker:
    """A model that answers into the same memory each time, as a link does, and can die while it does."""

    def __init__(self, path: Path) -> None:
        self._runtime = OnnxRuntime(path)
        self._slot: dict[str, Any] = {}

    def ask(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        for name, value in self._runtime.run(arrays).items():
            np.copyto(self._slot.setdefault(name, np.empty_like(value)), value)
        return self._slot


@pytest.fixture(scope="module")
def model() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield gru_onnx(Path(folder) / "gru.onnx")


def windows(count: int = WINDOWS) -> list[Any]:
    random = np.random.default_rng(7)
    return [random.normal(0, 1, (1, CHANNELS)).astype(np.float32) for _ in range(count)]


def run(model: Path, deaths: Sequence[tuple[int, str]] = ()) -> list[bytes]:
    """Every window's answer; ``deaths`` are windows at which the worker dies ``asked`` (no answer came) or ``answered`` (half of one lay in
    memory): each time a new worker is asked again."""
    state, worker, answers = ModelState(gru_manifest()), Worker(model), []
    for number, window in enumerate(windows()):
        state.meet(number, 1)
        for at, how in deaths:
            if at == number:
                if how == "answered":
                    worker.ask({"x": window} | state.inputs())
                worker = Worker(model)
        outputs = worker.ask({"x": window} | state.inputs())
        answers.append(outputs["y"].tobytes())
        state.commit(outputs)
    return answers


@settings(max_examples=60, deadline=None)
@given(deaths=st.lists(st.tuples(st.integers(0, WINDOWS - 1), st.sampled_from(["asked", "answered"])), max_size=6))
def test_a_worker_that_dies_at_any_window_changes_no_bit_of_any_answer(model: Path, deaths: list[tuple[int, str]]) -> None:
    assert run(model, deaths) == run(model)


def test_the_answers_do_depend_on_the_state(model: Path) -> None:
    worker, state = Worker(model), ModelState(gru_manifest())
    forgetful = [worker.ask({"x": window} | state.inputs())["y"].tobytes() for window in windows()]
    carried = run(model)
    assert forgetful[0] == carried[0]
    assert all(a != b for a, b in zip(forgetful[1:], carried[1:], strict=True))


def test_a_model_without_state_is_asked_for_nothing() -> None:
    manifest = replace(gru_manifest(), state=None)
    state = ModelState(manifest)
    assert state.inputs() == {}
    state.meet(3, 1)
    state.commit({"y": np.zeros((1, 2), np.float32)})
    assert state.inputs() == {}
    assert state.carried_to(manifest).inputs() == {}


@pytest.mark.parametrize(
    ("spec", "initial", "stored"),
    [
        (TensorSpec("h", "float32", (None, 2)), 0.25, [[0.25, 0.25]]),
        (TensorSpec("h", "int8", (1, 2), 0.5, 3), 0.0, [[3, 3]]),
        (TensorSpec("h", "int8", (1, 2), 0.5, 3), -2.0, [[-1, -1]]),
        (TensorSpec("h", "int8", (1, 2), 0.5, 3), 1e9, [[127, 127]]),
        (TensorSpec("h", "int64", (1, 2)), 7.0, [[7, 7]]),
        (TensorSpec("h", "bool", (1, 2)), 1.0, [[True, True]]),
        (TensorSpec("h", "float32", ()), 2.0, 2.0),
    ],
)
def test_the_initial_state_is_a_real_number_stored_as_the_tensor_stores_it(spec: TensorSpec, initial: float, stored: Any) -> None:
    manifest = replace(gru_manifest(), inputs=(spec,), state=StateSpec((StatePair("h", STATE_OUT, initial),)))
    array = ModelState(manifest).inputs()["h"]
    assert array.dtype == spec.dtype
    assert array.shape == np.shape(stored)
    assert array.tolist() == stored


def with_inputs(*inputs: TensorSpec) -> Manifest:
    return replace(gru_manifest(CARRY), inputs=inputs)


def after(state: ModelState, value: float, last_seq: int, hop: int = 1) -> bool:
    """One window seen through; whether it began from the initial state because of a gap."""
    again = state.meet(last_seq, hop)
    state.commit({STATE_OUT: np.full((1, UNITS), value, np.float32)})
    return again


def now(state: ModelState) -> float:
    return float(state.inputs()[STATE_IN][0, 0])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({}, f"output {STATE_OUT}: missing"),
        ({STATE_OUT: np.zeros((2, UNITS), np.float32)}, "float32 (2, 3)"),
        ({STATE_OUT: np.zeros((1, UNITS), np.float64)}, "float64"),
        ({STATE_OUT: np.full((1, UNITS), np.nan, np.float32)}, "NaN"),
    ],
)
def test_an_answer_without_a_usable_state_is_refused_and_the_state_stays(answer: dict[str, Any], words: str) -> None:
    state = ModelState(gru_manifest())
    after(state, 5.0, 0)
    with pytest.raises(ModelError) as caught:
        state.commit(answer)
    assert words in str(caught.value)
    assert now(state) == 5.0


def test_what_was_handed_out_cannot_be_written_to_nor_is_it_the_memory_of_the_answer() -> None:
    state, lent = ModelState(gru_manifest()), np.ones((1, UNITS), np.float32)
    state.commit({STATE_OUT: lent})
    lent[:] = 9
    assert now(state) == 1.0
    with pytest.raises(ValueError, match="read-only"):
        state.inputs()[STATE_IN][0, 0] = 4


@pytest.mark.parametrize(("on_gap", "fresh"), [("reset", True), ("keep", False)])
def test_missing_samples_do_what_the_manifest_says(on_gap: str, fresh: bool) -> None:
    state = ModelState(gru_manifest(StateSpec((StatePair(STATE_IN, STATE_OUT),), on_gap=on_gap)))
    assert not after(state, 1.0, 575, 512)
    assert not after(state, 2.0, 575 + 512, 512)
    assert state.meet(575 + 512 + 513, 512) is fresh
    assert now(state) == (0.0 if fresh else 2.0)


def test_a_window_that_failed_is_a_gap_and_asking_twice_is_not() -> None:
    state = ModelState(gru_manifest(StateSpec((StatePair(STATE_IN, STATE_OUT),), on_gap="reset")))
    after(state, 1.0, 0)
    assert not state.meet(1, 1)
    assert not state.meet(1, 1)
    assert now(state) == 1.0
    assert state.meet(2, 1)
    assert not state.meet(2, 1)
    assert now(state) == 0.0
    assert not after(state, 3.0, 2)
    assert now(state) == 3.0


@pytest.mark.parametrize(
    ("new", "value"),
    [
        (gru_manifest(CARRY), 4.0),
        (gru_manifest(), 0.0),
        (with_inputs(TensorSpec("other", "float32", (1, 7)), TensorSpec(STATE_IN, "float32", (1, UNITS))), 4.0),
        (with_inputs(TensorSpec(STATE_IN, "float32", (1, UNITS + 1))), 0.0),
        (with_inputs(TensorSpec(STATE_IN, "float16", (1, UNITS))), 0.0),
        (with_inputs(TensorSpec(STATE_IN, "float32", (1, UNITS), 0.5, 0)), 0.0),
    ],
)
def test_a_new_version_carries_state_on_only_where_it_says_so_and_the_tensors_are_equal(new: Manifest, value: float) -> None:
    state = ModelState(gru_manifest(StateSpec((StatePair(STATE_IN, STATE_OUT),), on_gap="reset")))
    after(state, 4.0, 0)
    assert now(state.carried_to(new)) == value
    assert now(state) == 4.0


def test_carried_state_still_knows_which_window_it_follows() -> None:
    spec = replace(CARRY, on_gap="reset")
    state = ModelState(gru_manifest(spec))
    after(state, 4.0, 0)
    carried = state.carried_to(gru_manifest(spec))
    assert not carried.meet(1, 1)
    assert carried.meet(5, 1)


def test_reset_begins_anew() -> None:
    state = ModelState(gru_manifest())
    after(state, 4.0, 0)
    state.reset()
    assert now(state) == 0.0
