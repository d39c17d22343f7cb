"""Detectors: each form encodes boxes that are known, and the step finds them again; overlapping ones and weak ones go."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.bundle.manifest import Step
from edge_agent.errors import BundleError, ModelError
from edge_agent.pipeline.boxes import apart, overlap, surest
from edge_agent.pipeline.postprocess import Verdict, compile_postprocess
from edge_agent.values import Box, TensorSpec

pytestmark = pytest.mark.filterwarnings("error")

LABELS = ("cat", "dog", "bird")
TRUTH = [(0, 0.9, (0.1, 0.2, 0.3, 0.5)), (2, 0.8, (0.5, 0.5, 0.9, 0.75)), (1, 0.6, (0.6, 0.1, 0.7, 0.2))]
"""Class, score, corners of three things that do not overlap."""
SIZE = [100, 200]


def run(args: dict[str, Any], arrays: dict[str, Any], labels: tuple[str, ...] = LABELS, window: Any = None) -> Verdict:
    outputs = tuple(TensorSpec(name, str(array.dtype), array.shape) for name, array in arrays.items())
    return compile_postprocess((Step("boxes", args),), outputs, labels)(arrays, window=window)


def logit(share: float) -> float:
    return math.log(share / (1 - share))


def centred(corners: tuple[float, ...]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = corners
    return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0


def class_scores(change: Callable[[float], float] = float, nothing: float = 0.0) -> Any:
    scores = np.full((len(TRUTH), len(LABELS)), nothing)
    for row, (which, score, _) in enumerate(TRUTH):
        scores[row, which] = change(score)
    return scores


def corners(columns: tuple[int, ...] = (0, 1, 2, 3)) -> Any:
    return np.array([[box[c] for c in columns] for _, _, box in TRUTH])


def in_pixels(rows: Any) -> Any:
    return rows * [SIZE[1], SIZE[0], SIZE[1], SIZE[0]]


def centres() -> Any:
    return np.array([centred(box) for _, _, box in TRUTH])


ANCHORS = [[0.25, 0.3, 0.2, 0.4], [0.75, 0.6, 0.3, 0.2], [0.6, 0.2, 0.1, 0.1]]


def ssd() -> dict[str, Any]:
    near, mine = np.array(ANCHORS), centres()
    offsets = np.concatenate([(mine[:, :2] - near[:, :2]) / near[:, 2:] / 0.1, np.log(mine[:, 2:] / near[:, 2:]) / 0.2], axis=1)
    ahead = np.concatenate([np.full((3, 1), -9.0), class_scores(logit, -9.0)], axis=1)
    return {"b": offsets[:, [1, 0, 3, 2]][None], "s": ahead[None]}


def blazeface() -> dict[str, Any]:
    offsets = centres() - np.array([[x, y, 0, 0] for x, y, _, _ in ANCHORS])
    return {
        "b": np.concatenate([offsets * 128, np.ones((3, 12))], axis=1)[None],
        "s": np.array([[[logit(score)] for _, score, _ in TRUTH]]),
    }


def grid_v5() -> dict[str, Any]:
    """Two strides, two anchors each; the first two things on the fine grid, the third on the coarse one."""
    heads = [np.full((1, 2 * 8, 10, 20), -9.0), np.full((1, 2 * 8, 5, 10), -9.0)]
    for at, (which, score, box) in enumerate(TRUTH):
        head = heads[at // 2]
        cx, cy, w, h = (value * side for value, side in zip(centred(box), (200, 100, 200, 100), strict=True))
        stride = 100 / head.shape[2]
        column, row, anchor = int(cx / stride), int(cy / stride), at % 2
        aw, ah = V5_ANCHORS[at // 2][anchor]
        near = [(cx / stride - column + 0.5) / 2, (cy / stride - row + 0.5) / 2, math.sqrt(w / aw) / 2, math.sqrt(h / ah) / 2]
        numbers = [*map(logit, near), logit(score), *([-9.0] * 3)]
        numbers[5 + which] = 20.0
        head[0, anchor * 8 : anchor * 8 + 8, row, column] = numbers
    return {"p3": heads[0], "p4": heads[1]}


V5_ANCHORS = [[[60.0, 40.0], [90.0, 30.0]], [[40.0, 15.0], [50.0, 50.0]]]


def grid_v8() -> dict[str, Any]:
    """Distances as two bins that share one softmax, so that any real distance below 15 strides can be said."""
    head = np.full((1, 64 + 3, 10, 20), -9.0)
    for which, score, box in TRUTH:
        x0, y0, x1, y1 = (value * side / 10 for value, side in zip(box, (200, 100, 200, 100), strict=True))
        column, row = int((x0 + x1) / 2), int((y0 + y1) / 2)
        cx, cy = column + 0.5, row + 0.5
        for side, distance in enumerate((cx - x0, cy - y0, x1 - cx, y1 - cy)):
            bins = np.full(16, -40.0)
            low = int(distance)
            bins[low], bins[low + 1] = math.log(1 - (distance - low) + 1e-12), math.log(distance - low + 1e-12)
            head[0, side * 16 : side * 16 + 16, row, column] = bins
        head[0, 64 + which, row, column] = logit(score)
    return {"p": head}


FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "corners": ({"kind": "corners"}, {"b": corners()[None], "s": class_scores()[None]}),
    "corners in pixels, y first, logits": (
        {"kind": "corners", "boxes": "b", "scores": "s", "order": "yx", "size": SIZE, "activation": "sigmoid"},
        {"s": class_scores(logit, -9.0)[None], "b": in_pixels(corners())[:, [1, 0, 3, 2]][None]},
    ),
    "corners with classes and a count": (
        {"kind": "corners", "classes": "c", "count": "n"},
        {
            "b": np.concatenate([corners(), [[0.0, 0.0, 1.0, 1.0]]])[None],
            "s": np.array([[0.9, 0.8, 0.6, 0.99]]),
            "c": np.array([[0.0, 2.0, 1.0, 1.0]]),
            "n": np.array([3.0]),
        },
    ),
    "centre": ({"kind": "centre", "size": SIZE}, {"b": in_pixels(centres())[None], "s": class_scores()[None]}),
    "yolov8": ({"kind": "yolov8", "size": SIZE}, {"o": np.concatenate([in_pixels(centres()), class_scores()], axis=1).T[None]}),
    "yolov5": (
        {"kind": "yolov5", "size": SIZE},
        {"o": np.concatenate([in_pixels(centres()), [[0.9], [0.8], [0.6]], class_scores(lambda _: 1.0)], axis=1)[None]},
    ),
    "yolov5 grids": ({"kind": "yolov5_grid", "size": SIZE, "anchors": V5_ANCHORS}, grid_v5()),
    "yolov5 grids, channels last": (
        {"kind": "yolov5_grid", "size": SIZE, "anchors": V5_ANCHORS, "layout": "channels_last", "outputs": ["p3", "p4"]},
        {"other": np.zeros(3), **{name: head.transpose(0, 2, 3, 1) for name, head in grid_v5().items()}},
    ),
    "yolov8 grids": ({"kind": "yolov8_grid", "size": SIZE}, grid_v8()),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_back_what_was_put_in(form: str) -> None:
    args, arrays = FORMS[form]
    verdict = run({"min_score": 0.5, **args}, arrays)
    assert [box.label for box in verdict.boxes] == ["cat", "bird", "dog"]
    for box, (_, score, truth) in zip(verdict.boxes, TRUTH, strict=True):
        assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx(truth, abs=1e-3)
        assert box.score == pytest.approx(score, abs=2e-3)
    assert (verdict.label, verdict.scores) == ("cat", ()) and verdict.score == verdict.boxes[0].score


def test_ssd_offsets_are_undone_from_anchors_and_the_background_is_no_class() -> None:
    args = {"kind": "ssd", "anchors": ANCHORS, "order": "yx", "activation": "sigmoid", "background": 0}
    outputs = run(args, ssd(), ("nothing", *LABELS)).boxes
    assert [box.label for box in outputs] == ["cat", "bird", "dog"]
    for box, (_, score, truth) in zip(outputs, TRUTH, strict=True):
        assert (box.x0, box.y0, box.x1, box.y1, box.score) == pytest.approx((*truth, score))
    softmax = run(args | {"activation": "softmax", "min_score": 0.5}, ssd(), ("nothing", *LABELS)).boxes
    assert [box.label for box in softmax] == ["cat", "bird", "dog"]


def test_blazeface_offsets_are_pixels_from_anchor_centres() -> None:
    boxes = run({"kind": "blazeface", "anchors": [[x, y, 1.0, 1.0] for x, y, _, _ in ANCHORS]}, blazeface(), ("face",)).boxes
    assert [box.label for box in boxes] == ["face"] * 3
    for box, (_, score, truth) in zip(boxes, TRUTH, strict=True):
        assert (box.x0, box.y0, box.x1, box.y1, box.score) == pytest.approx((*truth, score))


def test_anchors_are_made_map_by_map_cell_by_cell() -> None:
    """With offsets of zero every answer is its anchor."""
    args = {
        "kind": "ssd",
        "maps": [[2, 1], [1, 1]],
        "scales": [0.2, 0.4],
        "ratios": [1.0, 4.0],
        "between": True,
        "iou": 1.0,
        "min_score": 0,
    }
    count = 2 * 3 + 3
    boxes = run(args, {"b": np.zeros((count, 4)), "s": np.linspace(1, 0.1, count)[:, None]}, ()).boxes
    between = math.sqrt(0.08)
    sizes = [(0.2, 0.2), (0.4, 0.1), (between, between)] * 2 + [(0.4, 0.4), (0.8, 0.2), (math.sqrt(0.4),) * 2]
    centre = [(0.5, 0.25)] * 3 + [(0.5, 0.75)] * 3 + [(0.5, 0.5)] * 3
    for box, (w, h), (x, y) in zip(boxes, sizes, centre, strict=True):
        assert (box.x1 - box.x0, box.y1 - box.y0, (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2) == pytest.approx((w, h, x, y))
    given_shapes = {
        "kind": "ssd",
        "maps": [[2, 1], [1, 1]],
        "shapes": [[list(s) for s in sizes[:3]], [list(s) for s in sizes[6:]]],
        "iou": 1.0,
        "min_score": 0,
    }
    again = run(given_shapes, {"b": np.zeros((count, 4)), "s": np.linspace(1, 0.1, count)[:, None]}, ()).boxes
    assert [box.x0 for box in again] == pytest.approx([box.x0 for box in boxes])


def test_of_two_that_overlap_the_weaker_goes_unless_it_is_another_class() -> None:
    boxes = np.array([[0, 0, 0.4, 0.4], [0.01, 0, 0.41, 0.4], [0.01, 0, 0.41, 0.4], [0.5, 0.5, 0.9, 0.9]])
    scores = np.array([[0.7, 0, 0], [0.9, 0, 0], [0, 0.8, 0], [0.1, 0, 0]])
    verdict = run({"kind": "corners"}, {"b": boxes, "s": scores})
    assert [(box.label, box.score) for box in verdict.boxes] == [("cat", 0.9), ("dog", 0.8)]
    assert len(run({"kind": "corners", "iou": 1.0, "min_score": 0.05}, {"b": boxes, "s": scores}).boxes) == 4
    assert len(run({"kind": "corners", "iou": 1.0, "min_score": 0.05, "max": 2}, {"b": boxes, "s": scores}).boxes) == 2


def test_nothing_found_is_no_label() -> None:
    assert run({"kind": "corners"}, {"b": corners(), "s": np.zeros((3, 3))}) == Verdict(None, None, ())


def test_answers_that_are_no_numbers_are_no_boxes() -> None:
    boxes, scores = corners(), class_scores()
    boxes[0, 2], scores[1, 2] = math.nan, math.nan
    verdict = run({"kind": "corners"}, {"b": boxes, "s": scores})
    assert [box.label for box in verdict.boxes] == ["dog"]


def test_quantized_outputs_become_real_numbers() -> None:
    outputs = (TensorSpec("b", "uint8", (1, 3, 4), 1 / 200, 0), TensorSpec("s", "int8", (1, 3, 3), 1 / 200, -100))
    arrays = {"b": np.rint(corners() * 200).astype(np.uint8)[None], "s": (np.rint(class_scores() * 200) - 100).astype(np.int8)[None]}
    verdict = compile_postprocess((Step("boxes", {"kind": "corners"}),), outputs, LABELS)(arrays)
    assert verdict.boxes[0] == Box("cat", pytest.approx(0.9), *(pytest.approx(v) for v in TRUTH[0][2]))  # type: ignore[arg-type]


@pytest.mark.parametrize("frame", [(100, 200, 3), (300, 120, 3), (64, 64)])
def test_a_letterbox_is_undone(frame: tuple[int, ...]) -> None:
    height, width = frame[:2]
    ratio = 128 / max(height, width)
    across, down = width * ratio, height * ratio
    left, top = (128 - across) / 2, (128 - down) / 2
    fitted = [(x0 * across + left, y0 * down + top, x1 * across + left, y1 * down + top) for _, _, (x0, y0, x1, y1) in TRUTH]
    args = {"kind": "corners", "size": [128, 128], "letterbox": [128, 128]}
    verdict = run(args, {"b": np.array(fitted), "s": class_scores()}, window=np.zeros(frame, np.uint8))
    for box, (_, _, truth) in zip(verdict.boxes, TRUTH, strict=True):
        assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx(truth)
    with pytest.raises(ModelError, match=r"postprocess\[0\] \(boxes\).*picture is at hand"):
        run(args, {"b": np.array(fitted), "s": class_scores()})


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 4, st.integers(0, 2), st.floats(0, 1)), max_size=12), st.floats(0, 1), st.integers(1, 12))
def test_what_is_kept_is_apart_and_what_is_not_kept_is_covered(rows: list[tuple[float, ...]], limit: float, most: int) -> None:
    table = np.array(rows or np.zeros((0, 6))).reshape(-1, 6)
    table[:, :4] = np.concatenate([np.minimum(table[:, :2], table[:, 2:4]), np.maximum(table[:, :2], table[:, 2:4])], axis=1)
    table = table[surest(table[:, 5], 0.0, 100)]
    kept = apart(table[:, :4], table[:, 4], limit, most).tolist()
    assert len(kept) <= most and kept == sorted(kept)
    for at in range(len(table) if len(kept) < most else 0):
        rivals = [k for k in kept if k < at and table[k, 4] == table[at, 4]]
        covered = any(overlap(table[k, :4], table[at : at + 1, :4])[0] > limit for k in rivals)
        assert covered == (at not in kept)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({}, "args.kind: is missing"),
        ({"kind": "rcnn"}, "args.kind: 'rcnn' is not one of corners, centre"),
        ({"kind": "corners", "boxes": "z"}, "args.boxes: 'z' is not an output of the model; it has b, s"),
        ({"kind": "corners", "size": [0, 1]}, "args.size: must be height and width"),
        ({"kind": "corners", "iou": 1.5}, "args.iou: must be a number from 0 to 1"),
        ({"kind": "corners", "max": 5000}, "args.max"),
        ({"kind": "corners", "order": "zx"}, "args.order"),
        ({"kind": "corners", "activation": "relu"}, "args.activation"),
        ({"kind": "corners", "anchors": [[1, 2, 3, 4]]}, "args.anchors: is not known to this step"),
        ({"kind": "ssd"}, "args.maps: is missing"),
        ({"kind": "ssd", "anchors": [[1, 2, 3]]}, "args.anchors: must be a list of"),
        ({"kind": "ssd", "anchors": [[1, 2, 3, "4"]]}, "args.anchors: must be a list of"),
        ({"kind": "ssd", "maps": [[1024, 1024]], "scales": [1], "ratios": [1]}, "args.maps: would give more than 131072 anchors"),
        ({"kind": "ssd", "maps": [[1.5, 2]], "scales": [1], "ratios": [1]}, "args.maps"),
        (
            {"kind": "ssd", "maps": [[1, 2]], "scales": [1, 2], "ratios": [1]},
            "args.scales: must be one number above 0 for each of the 1 maps",
        ),
        ({"kind": "ssd", "maps": [[1, 2]], "scales": [1], "ratios": [0]}, "args.ratios"),
        ({"kind": "ssd", "maps": [[1, 2]], "shapes": [[[1, 1]], [[2, 2]]]}, "args.shapes: must be one list"),
        ({"kind": "ssd", "anchors": ANCHORS, "variances": [1, 1]}, "args.variances"),
        ({"kind": "blazeface", "anchors": ANCHORS, "scale": 0}, "args.scale"),
        ({"kind": "yolov5_grid", "anchors": [[[1, 1]]]}, "args.anchors: must be one list of [width, height] for each of the 2 outputs"),
        ({"kind": "yolov8_grid", "outputs": ["q"], "size": [9, 9]}, "args.outputs: 'q' is not an output"),
        ({"kind": "yolov8_grid"}, "args.size: is missing"),
    ],
)
def test_wrong_arguments_are_named(args: dict[str, Any], words: str) -> None:
    with pytest.raises(BundleError) as caught:
        run(args, {"b": corners(), "s": class_scores()})
    assert f"postprocess[0].{words}" in str(caught.value)


@pytest.mark.parametrize(
    ("args", "arrays"),
    [
        ({"kind": "corners"}, {"b": np.zeros((3, 4)), "s": np.zeros((2, 2))}),
        ({"kind": "corners", "background": 3}, {"b": corners(), "s": class_scores()}),
        ({"kind": "corners", "background": 0}, {"b": corners(), "s": np.ones((3, 1))}),
        ({"kind": "yolov8"}, {"o": np.zeros((1, 3, 9))}),
        ({"kind": "yolov8_grid", "size": [8, 8]}, {"o": np.zeros((1, 64, 2, 2))}),
        ({"kind": "yolov8_grid", "size": [8, 8]}, {"o": np.zeros((1, 64))}),
        ({"kind": "ssd", "anchors": ANCHORS}, {"b": np.zeros((2, 4)), "s": np.zeros((2, 1))}),
    ],
)
def test_outputs_of_another_form_are_model_errors(args: dict[str, Any], arrays: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"postprocess\[0\] \(boxes\): does not fit what the model gave"):
        run(args, arrays)


def test_boxes_come_first_and_alone() -> None:
    outputs = (TensorSpec("b", "float32", (3, 4)), TensorSpec("s", "float32", (3, 3)))
    for steps, words in [
        ((Step("softmax"), Step("boxes", {"kind": "corners"})), "must come before all steps that change scores"),
        ((Step("boxes", {"kind": "corners"}), Step("softmax")), "softmax cannot follow"),
        ((Step("boxes", {"kind": "corners"}), Step("threshold", {"at": 1})), "has its limits already"),
    ]:
        with pytest.raises(BundleError, match=words):
            compile_postprocess(steps, outputs, LABELS)
    with pytest.raises(ModelError, match="output s: missing"):
        compile_postprocess((Step("boxes", {"kind": "corners"}),), outputs, LABELS)({"b": corners()})
