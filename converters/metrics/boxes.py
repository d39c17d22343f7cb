"""Answers of detectors to boxes, by the device's own code: corners, class and score, the weaker of two that overlap left out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from converters.errors import InputError
from converters.metrics.said import MetricSaid
from edge_agent.bundle.manifest import Step
from edge_agent.errors import BundleError
from edge_agent.pipeline.arguments import Arguments
from edge_agent.pipeline.steps_boxes import box_finder
from edge_agent.values import TensorSpec

MOST = 300
SAME = 0.45
"""Two boxes of one class that overlap by more are one thing."""

Reader = Callable[[Mapping[str, Any]], Any]


def box_reader(outputs: Collection[str], said: MetricSaid, declared: Step | None) -> Reader:
    """A function from one sample's outputs by name, real numbers, to rows of left, top, right, bottom, class, score, the best first.

    As the step ``boxes`` says that the user ``declared``; without one by the ``form`` of the metric: yolov8, one output (4 + classes,
    boxes), centre and size; yolov5, (boxes, 5 + classes), with a score that there is anything; corners and centre, an output of boxes
    (n, 4) and one of scores (n,) or (n, classes). Raises :class:`InputError`, the function too.
    """
    step = _as_step(said) if declared is None else declared
    try:
        finder = box_finder(Arguments(step, "metric"), tuple(TensorSpec(name, "float64", ()) for name in outputs))
    except BundleError as error:
        raise InputError(str(error)) from None

    def read(values: Mapping[str, Any]) -> Any:
        try:
            return finder.rows(values)
        except (ValueError, IndexError) as error:
            raise InputError(f"metric: form {step.args.get('kind')} {error}") from None

    return read


def detections(values: Mapping[str, Any], said: MetricSaid) -> Any:
    """Of one sample, as :func:`box_reader` reads them by the metric's form."""
    return box_reader(tuple(values), said, None)(values)


def _as_step(said: MetricSaid) -> Step:
    args: dict[str, Any] = {"kind": said.form, "min_score": said.at, "iou": SAME, "max": MOST}
    if said.form in ("corners", "centre"):
        args |= {"boxes": said.boxes, "scores": said.scores}
    return Step("boxes", args)
