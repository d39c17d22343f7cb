"""Steps that remember windows: smoothing, hysteresis, debouncing; what they forget and what goes on in a new version."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.bundle.manifest import Step
from edge_agent.errors import BundleError, ModelError
from edge_agent.pipeline.memories import MAX_REMEMBERED
from edge_agent.pipeline.postprocess import Postprocess, Verdict, compile_postprocess
from edge_agent.values import TensorSpec

pytestmark = pytest.mark.filterwarnings("error")

LABELS = ("a", "b", "c")


def compiled(steps: Sequence[Step], labels: tuple[str, ...] = LABELS, width: int | None = 3) -> Postprocess:
    return compile_postprocess(tuple(steps), (TensorSpec("y", "float32", (1, width)),), labels)


def told(post: Postprocess, rows: Sequence[Sequence[float]]) -> list[Verdict]:
    return [post({"y": np.array([row], np.float32)}) for row in rows]


def labels_of(steps: Sequence[Step], rows: Sequence[Sequence[float]], labels: tuple[str, ...] = LABELS) -> list[str | None]:
    return [verdict.label for verdict in told(compiled(steps, labels, len(rows[0])), rows)]


def one(scores: Sequence[float]) -> list[list[float]]:
    return [[score] for score in scores]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"kind": "mean", "windows": 3}, [6, 3, 4, 5]),
        ({"kind": "median", "windows": 3}, [6, 3, 6, 6]),
        ({"kind": "ema", "alpha": 0.5}, [6, 3, 4.5, 6.75]),
        ({"kind": "ema", "windows": 3}, [6, 3, 4.5, 6.75]),
        ({"windows": 1}, [6, 0, 6, 9]),
    ],
)
def test_scores_are_smoothed_over_the_last_windows(args: dict[str, Any], expected: list[float]) -> None:
    verdicts = told(compiled([Step("smooth", args)], (), 1), one([6, 0, 6, 9]))
    assert [verdict.score for verdict in verdicts] == expected


def test_smoothed_scores_decide() -> None:
    rows = [[0.9, 0.1, 0], [0.2, 0.8, 0], [0.8, 0.2, 0], [0.1, 0.9, 0], [0.1, 0.9, 0]]
    assert labels_of([Step("argmax")], rows) == ["a", "b", "a", "b", "b"]
    assert labels_of([Step("smooth", {"windows": 3}), Step("argmax")], rows) == ["a", "a", "a", "b", "b"]


def test_the_majority_of_labels_wins_and_of_equals_the_latest() -> None:
    rows = [[1.0, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]]
    post = compiled([Step("argmax"), Step("smooth", {"kind": "majority", "windows": 3})])
    verdicts = told(post, rows)
    assert [verdict.label for verdict in verdicts] == ["a", "b", "b", "b", "c", "c"]
    assert verdicts[3] == Verdict("b", 0.0, (1, 0, 0)), "the score is what this window gives the label"


def test_no_label_can_be_the_majority() -> None:
    steps = [Step("threshold", {"at": 0.5}), Step("smooth", {"kind": "majority", "windows": 3})]
    verdicts = told(compiled(steps, ("alarm",), 1), one([0.9, 0.1, 0.1, 0.9, 0.9]))
    assert [verdict.label for verdict in verdicts] == ["alarm", None, None, None, "alarm"]
    assert [verdict.score for verdict in verdicts] == pytest.approx([0.9, 0.1, 0.1, 0.9, 0.9])


@pytest.mark.parametrize(("labels", "low", "high"), [(("ok", "alarm"), "ok", "alarm"), (("alarm",), None, "alarm"), ((), None, "1")])
def test_an_alarm_goes_on_at_one_limit_and_off_at_another(labels: tuple[str, ...], low: str | None, high: str) -> None:
    steps = [Step("hysteresis", {"on": 0.75, "off": 0.25})]
    said = labels_of(steps, one([0.5, 0.75, 0.5, 0.25, 0.2, 0.5, 0.8]), labels)
    assert said == [low, high, high, high, low, low, high]


def test_a_class_holds_until_it_is_weak_or_another_is_strong() -> None:
    steps = [Step("hysteresis", {"on": 0.75, "off": 0.25})]
    rows = [[0.5, 0.4, 0.1], [0.8, 0.1, 0.1], [0.4, 0.6, 0.0], [0.25, 0.75, 0.0], [0.1, 0.25, 0.6], [0.1, 0.2, 0.6]]
    verdicts = told(compiled(steps), rows)
    assert [verdict.label for verdict in verdicts] == [None, "a", "a", "b", "b", None]
    assert [verdict.score for verdict in verdicts] == pytest.approx([0.5, 0.8, 0.4, 0.75, 0.25, 0.6])


def test_a_label_is_told_once_it_is_steady() -> None:
    rows = [[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]]
    steps = [Step("argmax"), Step("debounce", {"windows": 2})]
    assert labels_of(steps, rows) == [None, "a", "a", "a", "a", "b", "b"]


REMEMBERING = [
    [Step("smooth", {"kind": "mean", "windows": 4}), Step("argmax")],
    [Step("smooth", {"kind": "median", "windows": 3}), Step("argmax")],
    [Step("smooth", {"kind": "ema", "alpha": 0.3}), Step("argmax")],
    [Step("argmax"), Step("smooth", {"kind": "majority", "windows": 4})],
    [Step("argmax"), Step("debounce", {"windows": 2})],
    [Step("hysteresis", {"on": 0.8, "off": 0.2})],
    [Step("smooth", {"windows": 2}), Step("hysteresis", {"on": 0.7, "off": 0.3}), Step("debounce", {"windows": 2})],
]
shares = st.floats(0, 1, width=32)
streams = st.lists(st.lists(shares, min_size=3, max_size=3), max_size=8)


@given(steps=st.sampled_from(REMEMBERING), before=streams, after=streams)
def test_after_a_reset_nothing_is_left(steps: list[Step], before: list[list[float]], after: list[list[float]]) -> None:
    post = compiled(steps)
    told(post, before)
    post.reset()
    assert told(post, after) == told(compiled(steps), after)


@given(steps=st.sampled_from(REMEMBERING), before=streams, after=streams)
def test_windows_that_are_no_numbers_say_nothing_and_leave_no_trace(
    steps: list[Step], before: list[list[float]], after: list[list[float]]
) -> None:
    post, clean = compiled(steps), compiled(steps)
    assert told(post, before) == told(clean, before)
    (broken,) = told(post, [[0.1, math.nan, 0.9]])
    assert (broken.label, broken.score) == (None, None)
    assert told(post, after) == told(clean, after)


@given(steps=st.sampled_from(REMEMBERING), before=streams, after=streams)
def test_a_new_version_begins_anew_unless_the_same_step_says_keep(
    steps: list[Step], before: list[list[float]], after: list[list[float]]
) -> None:
    keeping = [Step(step.op, {**step.args, "keep": True} if step.op != "argmax" else {}) for step in steps]
    for declared, expected in ((steps, compiled(steps)), (keeping, compiled(keeping))):
        old, new = compiled(declared), compiled(declared)
        told(old, before)
        new.adopt(old)
        if declared is keeping:
            told(expected, before)
        assert told(new, after) == told(expected, after)


def test_both_versions_go_on_by_themselves_and_answers_may_be_written_over() -> None:
    old, new = (compiled([Step("smooth", {"windows": 2, "keep": True})], (), 1) for _ in range(2))
    answer = {"y": np.array([[4.0]])}
    old(answer)
    answer["y"][:] = 0
    new.adopt(old)
    assert old({"y": np.array([[8.0]])}).score == 6
    assert new({"y": np.array([[2.0]])}).score == 3


def test_another_step_does_not_go_on_with_what_was_kept() -> None:
    old = compiled([Step("smooth", {"windows": 3, "keep": True})], (), 1)
    new = compiled([Step("smooth", {"windows": 4, "keep": True})], (), 1)
    told(old, one([8, 8]))
    new.adopt(old)
    assert told(new, one([2]))[0].score == 2


def test_other_shapes_begin_anew_and_too_much_is_refused() -> None:
    post = compiled([Step("smooth", {"windows": 1024})], (), None)
    assert told(post, [[1.0, 3.0]])[0].scores == (1, 3)
    assert told(post, [[2.0, 2.0, 2.0]])[0].scores == (2, 2, 2)
    with pytest.raises(ModelError, match=r"postprocess\[0\] \(smooth\).*may be remembered"):
        told(post, [[0.0] * (MAX_REMEMBERED // 1024 + 1)])


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([Step("smooth", {"windows": 0})], "postprocess[0].args.windows"),
        ([Step("smooth", {"windows": 2000})], "postprocess[0].args.windows: must be a whole number, 1 or more, at most 1024"),
        ([Step("smooth", {})], "postprocess[0].args.windows: is missing"),
        ([Step("smooth", {"kind": "mode", "windows": 2})], "postprocess[0].args.kind: 'mode' is not one of mean, median, ema, majority"),
        ([Step("smooth", {"kind": "ema", "alpha": 0})], "postprocess[0].args.alpha"),
        ([Step("smooth", {"windows": 2, "keep": 1})], "postprocess[0].args.keep: must be true or false"),
        ([Step("smooth", {"kind": "majority", "windows": 2})], "postprocess[0].op: smooth of labels must follow"),
        ([Step("debounce", {"windows": 2})], "postprocess[0].op: debounce of labels must follow"),
        ([Step("argmax"), Step("smooth", {"windows": 2})], "postprocess[1].op: smooth cannot follow"),
        ([Step("hysteresis", {"on": 0.5})], "postprocess[0].args.off: is missing"),
        ([Step("hysteresis", {"on": 0.5, "off": 0.6})], "postprocess[0].args.off: must not be greater than on"),
        ([Step("hysteresis", {"on": 1, "off": 0}), Step("threshold", {"at": 1})], "postprocess[1] (threshold): has its limits already"),
        ([Step("threshold", {"at": 1}), Step("hysteresis", {"on": 1, "off": 0})], "postprocess[1] (hysteresis): has its limits already"),
    ],
)
def test_wrong_steps_are_named(steps: list[Step], words: str) -> None:
    with pytest.raises(BundleError) as caught:
        compiled(steps)
    assert words in str(caught.value)
