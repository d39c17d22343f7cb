"""State inside a TensorFlow Lite graph: zeroed before each inference unless it is to be kept; refused where it cannot be zeroed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flat_nets import IMAGE, operator_file
from stateful_nets import counter_tflite

from edge_agent.errors import ModelError
from edge_agent.runtimes.tflite import TfliteRuntime


@pytest.fixture
def recurrent(tmp_path: Path) -> Path:
    path = tmp_path / "lstm.tflite"
    path.write_bytes(operator_file("lstm"))
    return path


def answers(runtime: TfliteRuntime, count: int) -> list[Any]:
    feed = {runtime.inputs[0].name: np.full(IMAGE, 0.5, np.float32)}
    return [runtime.run(feed)[runtime.outputs[0].name].copy() for _ in range(count)]


def test_each_inference_starts_anew(recurrent: Path) -> None:
    first, second = answers(TfliteRuntime(recurrent), 2)
    np.testing.assert_array_equal(first, second)


def test_kept_state_lasts_until_it_is_reset(recurrent: Path) -> None:
    runtime = TfliteRuntime(recurrent, keep_state=True)
    first, second, third = answers(runtime, 3)
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)
    runtime.reset_state()
    for one, again in zip((first, second, third), answers(runtime, 3), strict=True):
        np.testing.assert_array_equal(one, again)


@pytest.mark.parametrize("keep_state", [False, True])
def test_resource_variables_cannot_be_zeroed_and_are_refused(tmp_path: Path, keep_state: bool) -> None:
    with pytest.raises(ModelError, match=r"counter\.tflite: keeps state in resource variables \(VAR_HANDLE\)"):
        TfliteRuntime(counter_tflite(tmp_path / "counter.tflite"), keep_state=keep_state)
