"""Autoencoders: how far what comes out is from what went in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edge_agent.bundle.manifest import Step
from edge_agent.errors import BundleError, ModelError
from edge_agent.pipeline.postprocess import Postprocess, Verdict, compile_postprocess
from edge_agent.values import TensorSpec

pytestmark = pytest.mark.filterwarnings("error")

SPECS = (TensorSpec("x", "float32", (1, 4)),)
OUTPUTS = (TensorSpec("y", "float32", (1, 4)),)
GIVEN = {"y": np.array([[1, 2, 3, 4]], np.float32)}
ASKED = {"x": np.array([[1, 2, 5, 0]], np.float32)}


def compiled(*steps: Step, labels: tuple[str, ...] = (), inputs: tuple[TensorSpec, ...] = SPECS) -> Postprocess:
    return compile_postprocess(steps, OUTPUTS, labels, inputs)


def test_the_score_is_the_mean_squared_or_absolute_difference() -> None:
    assert compiled(Step("reconstruction_error"))(GIVEN, ASKED) == Verdict(None, 5, (5,))
    assert compiled(Step("reconstruction_error", {"kind": "mae"}))(GIVEN, ASKED).score == 1.5


@pytest.mark.parametrize(("at", "label"), [(4.9, "odd"), (5, "odd"), (5.1, "normal")])
def test_a_threshold_makes_it_an_alarm(at: float, label: str) -> None:
    steps = (Step("reconstruction_error"), Step("threshold", {"at": at}))
    assert compiled(*steps, labels=("normal", "odd"))(GIVEN, ASKED).label == label


def test_it_can_be_compared_with_the_window_itself() -> None:
    post = compiled(Step("reconstruction_error", {"of": "window"}), inputs=())
    assert post(GIVEN, None, np.array([[1, 2], [3, 6]], np.int16)).score == 1
    with pytest.raises(ModelError, match=r"postprocess\[0\] \(reconstruction_error\): the window is not at hand"):
        post(GIVEN, ASKED)


def test_stored_codes_are_compared_as_real_numbers() -> None:
    inputs = (TensorSpec("other", "float32", (1,)), TensorSpec("x", "int8", (1, 4), 0.5, -10))
    outputs = (TensorSpec("z", "float32", (1,)), TensorSpec("y", "uint8", (1, 4), 0.25, 100))
    steps = (Step("output", {"name": "y"}), Step("reconstruction_error", {"input": "x"}))
    post = compile_postprocess(steps, outputs, (), inputs)
    arrays: dict[str, Any] = {"y": np.array([[104, 108, 112, 116]], np.uint8)}
    assert post(arrays, {"x": np.array([[-8, -6, -4, -4]], np.int8)}).score == pytest.approx(0.25)


def test_smoothing_and_hysteresis_work_on_the_error() -> None:
    steps = (Step("reconstruction_error"), Step("smooth", {"windows": 2}), Step("hysteresis", {"on": 5, "off": 2.5}))
    post = compiled(*steps, labels=("odd",))
    same = {"x": GIVEN["y"]}
    assert [post(GIVEN, asked).label for asked in (ASKED, same, same)] == ["odd", "odd", None]


def test_what_is_no_number_is_no_alarm() -> None:
    post = compiled(Step("reconstruction_error"), Step("threshold", {"at": 1}), labels=("odd",))
    verdict = post({"y": np.array([[1, math.nan, 3, math.inf]], np.float32)}, ASKED)
    assert verdict.label is None and verdict.score is None


@pytest.mark.parametrize(
    ("steps", "inputs", "words"),
    [
        ([Step("reconstruction_error")], (), "postprocess[0].args.input: '' is not an input of the model; it has none"),
        ([Step("reconstruction_error", {"input": "q"})], SPECS, "postprocess[0].args.input: 'q' is not an input of the model; it has x"),
        ([Step("reconstruction_error", {"of": "output"})], SPECS, "postprocess[0].args.of"),
        ([Step("reconstruction_error", {"kind": "rmse"})], SPECS, "postprocess[0].args.kind"),
        ([Step("softmax"), Step("reconstruction_error")], SPECS, "postprocess[1] (reconstruction_error): must come before"),
        ([Step("reconstruction_error")] * 2, SPECS, "postprocess[1] (reconstruction_error): must come before"),
    ],
)
def test_wrong_steps_are_named(steps: list[Step], inputs: tuple[TensorSpec, ...], words: str) -> None:
    with pytest.raises(BundleError) as caught:
        compiled(*steps, inputs=inputs)
    assert words in str(caught.value)


def test_inputs_that_are_missing_or_of_another_size_are_model_errors() -> None:
    post = compiled(Step("reconstruction_error"))
    for asked, words in [(None, "input x is not at hand"), ({"x": np.zeros(3)}, "gives 4 values, what it is compared with has 3")]:
        with pytest.raises(ModelError, match=words):
            post(GIVEN, asked)


def test_three_labels_do_not_fit_one_error() -> None:
    with pytest.raises(BundleError, match="labels: has 3 words, output y gives 1 values"):
        compiled(Step("reconstruction_error"), labels=("a", "b", "c"))
