"""Postprocessing: scores, winners and thresholds, and outputs that are not numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_agent.bundle.manifest import Step
from edge_agent.errors import BundleError, ModelError
from edge_agent.pipeline.postprocess import Verdict, compile_postprocess
from edge_agent.values import TensorSpec

pytestmark = pytest.mark.filterwarnings("error")

LABELS = ("a", "b", "c")


def run(steps: list[Step], values: Any, labels: tuple[str, ...] = LABELS, **spec: Any) -> Verdict:
    array = np.asarray(values, spec.get("dtype", "float32"))
    tensor = TensorSpec("y", spec.pop("dtype", "float32"), array.shape, **spec)
    return compile_postprocess(tuple(steps), (tensor,), labels)({"y": array})


def test_without_steps_the_values_are_the_scores() -> None:
    assert run([], [[1, 2, 3]]) == Verdict(None, None, (1, 2, 3))
    assert run([Step("none")], [[21.5]], ()) == Verdict(None, 21.5, (21.5,))


def test_argmax_names_the_winner() -> None:
    assert run([Step("argmax")], [[1, 5, 3]]) == Verdict("b", 5, (1, 5, 3))
    assert run([Step("argmax")], [[1, 5, 3]], ()) == Verdict("1", 5, (1, 5, 3))
    assert run([Step("argmax")], [[5, 5, 3]]).label == "a", "the first of equals wins"


def test_softmax_and_sigmoid() -> None:
    verdict = run([Step("softmax"), Step("argmax")], [[0, math.log(2), 0]])
    assert verdict.label == "b" and verdict.scores == pytest.approx((0.25, 0.5, 0.25))
    assert run([Step("sigmoid")], [[0, 1000, -1000]]).scores == pytest.approx((0.5, 1, 0))
    assert run([Step("softmax")], [[1e30, 0, -1e30]]).scores == (1, 0, 0)


def test_topk_keeps_the_k_best_in_their_places() -> None:
    assert run([Step("topk", {"k": 2})], [[0.2, 0.5, 0.3]]) == Verdict("b", 0.5, (0, 0.5, pytest.approx(0.3)))  # type: ignore[arg-type]
    assert run([Step("topk", {"k": 9})], [[1, 2, 3]]).scores == (1, 2, 3)


def test_threshold_needs_a_good_winner() -> None:
    steps = [Step("argmax"), Step("threshold", {"at": 4})]
    assert run(steps, [[1, 5, 3]]) == Verdict("b", 5, (1, 5, 3))
    assert run(steps, [[1, 3.5, 3]]) == Verdict(None, 3.5, (1, 3.5, 3))


@pytest.mark.parametrize(("labels", "below", "above"), [(("normal", "odd"), "normal", "odd"), (("odd",), None, "odd"), ((), None, "1")])
def test_threshold_of_one_score_decides_between_two(labels: tuple[str, ...], below: str | None, above: str) -> None:
    steps = [Step("threshold", {"at": 0.5})]
    assert run(steps, [[0.4]], labels).label == below
    assert run(steps, [[0.5]], labels).label == above


def test_quantized_outputs_become_real_numbers() -> None:
    verdict = run([Step("dequantize"), Step("argmax")], [[-128, 0, 127]], dtype="int8", scale=1 / 256, zero_point=-128)
    assert verdict == Verdict("c", 255 / 256, (0, 0.5, 255 / 256))
    assert run([], [[1, 2, 3]], dtype="int32").scores == (1, 2, 3)


@pytest.mark.parametrize(
    "steps", [[], [Step("argmax")], [Step("softmax"), Step("argmax")], [Step("topk", {"k": 1})], [Step("threshold", {"at": 0})]]
)
def test_nan_scores_win_nothing(steps: list[Step]) -> None:
    verdict = run(steps, [[1, math.nan, 2]])
    assert verdict.label is None and verdict.score is None


@given(
    array=arrays(np.float32, st.integers(0, 5), elements=st.floats(width=32)),
    words=st.lists(st.sampled_from(["softmax", "sigmoid", "none", "dequantize"]), max_size=3),
    last=st.sampled_from(["argmax", "none"]),
)
def test_no_output_crashes_it(array: Any, words: list[str], last: str) -> None:
    verdict = run([Step(word) for word in (*words, last)], array, ())
    assert len(verdict.scores) == array.size
    if verdict.score is not None:
        assert not math.isnan(verdict.score) and verdict.score in verdict.scores


def test_another_output_can_be_chosen() -> None:
    outputs = (TensorSpec("y", "float32", (1, 3)), TensorSpec("z", "float32", (1, 2)))
    post = compile_postprocess((Step("output", {"name": "z"}), Step("argmax")), outputs, ("no", "yes"))
    assert post({"y": np.zeros((1, 3)), "z": np.array([[0, 1]])}).label == "yes"
    with pytest.raises(ModelError, match="output z: missing, the model gave y"):
        post({"y": np.zeros((1, 3))})


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([Step("nms")], "postprocess[0].op: 'nms' is not one of"),
        ([Step("topk")], "postprocess[0].args.k: is missing"),
        ([Step("topk", {"k": 0})], "postprocess[0].args.k"),
        ([Step("threshold", {"at": "high"})], "postprocess[0].args.at"),
        ([Step("argmax", {"axis": 1})], "postprocess[0].args.axis: is not known"),
        ([Step("argmax"), Step("softmax")], "postprocess[1].op: softmax cannot follow"),
        ([Step("output", {"name": "z"})], "postprocess[0].args.name: 'z' is not an output of the model; it has y"),
    ],
)
def test_wrong_steps_are_refused_before_any_output(steps: list[Step], words: str) -> None:
    with pytest.raises(BundleError) as caught:
        run(steps, [[1, 2, 3]])
    assert words in str(caught.value)


def test_labels_must_be_as_many_as_the_scores() -> None:
    with pytest.raises(BundleError, match="labels: has 3 words, output y gives 2 values"):
        run([Step("argmax")], [[1, 2]])


def test_a_free_batch_does_not_hide_wrong_labels() -> None:
    with pytest.raises(BundleError, match="labels"):
        compile_postprocess((), (TensorSpec("y", "float32", (None, 2)),), LABELS)
