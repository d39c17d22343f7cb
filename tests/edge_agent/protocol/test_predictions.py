"""Predictions as they go over MQTT, whatever the model answered."""

from __future__ import annotations

import math

from edge_agent.protocol.codec import decode, encode
from edge_agent.protocol.messages import PredictionMessage
from edge_agent.protocol.predictions import prediction_message
from edge_agent.values import Box, Prediction, StageTimes

TIMES = StageTimes(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)


def test_scores_that_are_no_numbers_are_null_and_the_rest_arrives() -> None:
    prediction = Prediction("p", "m", "1", 7, 8, 9, 0, None, math.inf, (math.nan, 0.5, -math.inf), TIMES, None)
    message = prediction_message("dev", "p", prediction, t="2026-01-01T00:00:00Z")
    assert decode(PredictionMessage, encode(message)) == message
    assert message.scores == (None, 0.5, None)
    assert message.score is None
    assert (message.window_seq, message.first_seq, message.last_seq) == (7, 8, 9)


def test_boxes_arrive_as_they_were_found() -> None:
    found = (Box("face", 0.9, 0.1, 0.2, 0.3, 0.4), Box("face", 0.8, 0.5, 0.2, 1.0, 0.4))
    prediction = Prediction("p", "m", "1", 7, 8, 9, 0, "face", 0.9, (), TIMES, None, found)
    message = prediction_message("dev", "p", prediction, t="2026-01-01T00:00:00Z")
    assert decode(PredictionMessage, encode(message)).boxes == found
