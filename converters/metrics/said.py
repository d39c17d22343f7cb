"""What the user says of a model's kind: the ``[metric]`` table of the processing file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from converters.errors import InputError

KINDS = ("", "classifier", "regressor", "autoencoder", "detector", "signal")
FORMS = ("yolov8", "yolov5", "corners", "centre")


@dataclass(frozen=True, slots=True)
class MetricSaid:
    """``kind`` is empty where the model and the samples tell it. Autoencoders: an alarm is a mean squared error above ``threshold``.
    Detectors: the ``form`` of their answers, for corners and centre the outputs ``boxes`` and ``scores``; a detection is a score of at
    least ``at``; two are the same when they overlap by at least ``iou``."""

    kind: str = ""
    threshold: float | None = None
    form: str = "yolov8"
    boxes: str = ""
    scores: str = ""
    at: float = 0.25
    iou: float = 0.5


def metric_said(path: Path, table: Any) -> MetricSaid:
    """The table ``metric`` of the file ``path``. Raises :class:`InputError` naming file and key."""
    if not isinstance(table, dict):
        raise InputError(f"{path}: metric: must be a table ([metric])")
    for key, value in table.items():
        check = _CHECKS.get(key)
        if check is None:
            raise InputError(f"{path}: metric.{key}: is not known here; there are {', '.join(_CHECKS)}")
        if not check[0](value):
            raise InputError(f"{path}: metric.{key}: {value!r} is not {check[1]}")
    said = MetricSaid(**table)
    if said.kind == "detector" and said.form in ("corners", "centre") and not (said.boxes and said.scores):
        raise InputError(f"{path}: metric: form {said.form} needs the names of the outputs: boxes and scores")
    return said


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _share(value: Any) -> bool:
    return _number(value) and 0 < value < 1


def _text(value: Any) -> bool:
    return isinstance(value, str)


_CHECKS: Mapping[str, tuple[Callable[[Any], bool], str]] = MappingProxyType(
    {
        "kind": (lambda value: value in KINDS[1:], f"one of {', '.join(KINDS[1:])}"),
        "threshold": (_number, "a number"),
        "form": (lambda value: value in FORMS, f"one of {', '.join(FORMS)}"),
        "boxes": (_text, "the name of an output"),
        "scores": (_text, "the name of an output"),
        "at": (_share, "a share between 0 and 1"),
        "iou": (_share, "a share between 0 and 1"),
    }
)
