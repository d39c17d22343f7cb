"""The models of a pipeline one after the other: what each is fed, and when the later ones are asked at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_agent.config import StageConfig
from edge_agent.errors import ModelError
from edge_agent.pipeline.asking import Models, Said
from edge_agent.pipeline.postprocess import Verdict
from edge_agent.values import Box, Prediction, StageTimes, StageVerdict, Window

MOST_BOXES = 32
"""Boxes of one frame that a later model is asked about; the best ones."""


class Chain:
    """``stages`` are asked in turn; the last one asked gives the prediction, and the others stand in its ``before``."""

    def __init__(self, pipeline: str, stages: Sequence[StageConfig], models: Models) -> None:
        self._pipeline = pipeline
        self._stages = tuple(stages)
        self._models = models

    def predict(self, window: Window, queued_ns: int, taken_ns: int, clock: Any) -> Prediction:
        """Raises what :meth:`~edge_agent.pipeline.asking.Models.consult` raises."""
        said = self._models.consult(self._stages[0].model, window, window.values)
        heard, last, boxes = [said], said, said.verdict.boxes
        before: list[StageVerdict] = []
        for stage in self._stages[1:]:
            if stage.feed == "box":
                picked = [box for box in boxes if not stage.when or box.label in stage.when][:MOST_BOXES]
                answers = [self._models.consult(stage.model, window, _part(window.values, box)) for box in picked]
                if not answers:
                    break
                boxes = tuple(_renamed(box, answer.verdict) for box, answer in zip(picked, answers, strict=True))
                after = max(answers, key=lambda answer: answer.verdict.score or 0.0)
                heard += answers
            else:
                if stage.when and last.verdict.label not in stage.when:
                    break
                values = window.values if stage.feed == "window" else np.asarray(last.verdict.scores, np.float32)
                after = self._models.consult(stage.model, window, values)
                boxes = after.verdict.boxes
                heard.append(after)
            before.append(_told(last))
            last = after
        ended_ns = clock.monotonic_ns()
        return Prediction(
            self._pipeline,
            last.version.manifest.name,
            last.version.manifest.version,
            window.seq,
            window.first_seq,
            window.last_seq,
            window.end_ns,
            last.verdict.label,
            last.verdict.score,
            last.verdict.scores,
            _times(heard, queued_ns, taken_ns, ended_ns),
            window.label,
            boxes,
            tuple(before),
        )

    def label_index(self, prediction: Prediction) -> int | None:
        """Number of the predicted label among those of the model that gave it."""
        version = self._models.version(prediction.model)
        return version.label_index(prediction.label) if version is not None else None


def _times(heard: Sequence[Said], queued_ns: int, taken_ns: int, ended_ns: int) -> StageTimes:
    queue_us, total_us = (taken_ns - queued_ns) / 1000, (ended_ns - queued_ns) / 1000
    if len(heard) == 1:
        said = heard[0]
        return StageTimes(queue_us, said.preprocess_us, said.infer_us, said.model_us, said.postprocess_us, total_us)
    return StageTimes(
        queue_us=queue_us,
        preprocess_us=sum(said.preprocess_us for said in heard),
        infer_us=sum(said.infer_us for said in heard),
        model_us=sum(said.model_us for said in heard),
        postprocess_us=sum(said.postprocess_us for said in heard),
        total_us=total_us,
    )


def _told(said: Said) -> StageVerdict:
    manifest = said.version.manifest
    return StageVerdict(manifest.name, manifest.version, said.verdict.label, said.verdict.score)


def _renamed(box: Box, verdict: Verdict) -> Box:
    """The box under the name the later model gave it; its own where that gave none."""
    if verdict.label is None:
        return box
    return Box(verdict.label, box.score if verdict.score is None else verdict.score, box.x0, box.y0, box.x1, box.y1)


def _part(frame: Any, box: Box) -> Any:
    """The pixels in ``box`` of a frame (height, width, colours), at least one each way."""
    if getattr(frame, "ndim", 0) < 2:
        raise ModelError(f'feed = "box" needs frames (height, width, ...); the window has shape {getattr(frame, "shape", ())}')
    height, width = frame.shape[:2]
    top, left = (min(max(int(at * size), 0), size - 1) for at, size in ((box.y0, height), (box.x0, width)))
    bottom, right = max(top + 1, min(round(box.y1 * height), height)), max(left + 1, min(round(box.x1 * width), width))
    return frame[top:bottom, left:right]
