"""A prediction as it goes over MQTT."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

from edge_agent.protocol.messages import PredictionMessage
from edge_agent.values import Prediction


def prediction_message(device: str, pipeline: str, prediction: Prediction, *, t: str) -> PredictionMessage:
    """The message of ``prediction``, whose window ended at ``t`` (RFC 3339). Scores that are NaN or infinite become null: JSON has no
    word for them, and a model that gives them must not make its predictions vanish.
    """
    return PredictionMessage(
        device=device,
        pipeline=pipeline,
        model=prediction.model,
        version=prediction.version,
        window_seq=prediction.window_seq,
        first_seq=prediction.first_seq,
        last_seq=prediction.last_seq,
        t=t,
        label=prediction.label,
        score=_finite(prediction.score),
        scores=tuple(map(_finite, prediction.scores)),
        infer_us=prediction.times.infer_us,
        total_us=prediction.times.total_us,
        boxes=prediction.boxes,
        before=tuple(replace(verdict, score=_finite(verdict.score)) for verdict in prediction.before),
    )


def _finite(score: float | None) -> float | None:
    return score if score is not None and isfinite(score) else None
