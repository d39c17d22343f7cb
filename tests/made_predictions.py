"""Predictions to give to sinks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edge_agent.values import Prediction, StageTimes

_TIMES = StageTimes(1.0, 2.0, 3.0, 4.0, 5.0, 15.0)
_FIRST = Prediction("line", "m", "1", 0, 0, 3, 99, "ok", 0.75, (0.25, 0.75), _TIMES)


def prediction(index: int = 0, **changes: Any) -> Prediction:
    """The one of window ``index``."""
    return replace(_FIRST, window_seq=index, **changes)
