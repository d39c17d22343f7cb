"""When a line that shows a prediction is on. Pure: whoever asks brings the time."""

from __future__ import annotations

from collections.abc import Collection

from edge_agent.values import Prediction


class LineRule:
    """A prediction holds when its label is among ``labels`` (any, when empty) and its score at least ``min_score`` (any, when None).

    The condition stands from the first prediction that holds until one that does not, and with ``hold_ns`` until that long after the
    last one that did, whether others come or not. The line is on while the condition stands; with ``pulse_ns``, for that long
    from its beginning.
    """

    def __init__(self, labels: Collection[str], min_score: float | None, *, pulse_ns: int = 0, hold_ns: int = 0) -> None:
        self._labels, self._min_score = frozenset(labels), min_score
        self._pulse_ns, self._hold_ns = pulse_ns, hold_ns
        self._stands = False
        self._began_ns: int | None = None
        self._last_ns = 0

    def holds(self, prediction: Prediction) -> bool:
        if self._labels and prediction.label not in self._labels:
            return False
        return self._min_score is None or (prediction.score is not None and prediction.score >= self._min_score)

    def see(self, prediction: Prediction, now_ns: int) -> bool:
        """Whether the line is to be on after ``prediction``."""
        self._let_go(now_ns)
        if self.holds(prediction):
            if not self._stands:
                self._stands, self._began_ns = True, now_ns
            self._last_ns = now_ns
        elif not self._hold_ns:
            self._stands = False
        return self.on(now_ns)

    def on(self, now_ns: int) -> bool:
        """Whether the line is to be on at ``now_ns``, if no prediction came since."""
        self._let_go(now_ns)
        if self._pulse_ns:
            return self._began_ns is not None and now_ns < self._began_ns + self._pulse_ns
        return self._stands

    def falls_ns(self) -> int | None:
        """When a line that is on goes off by itself, if it does."""
        if self._pulse_ns:
            return None if self._began_ns is None else self._began_ns + self._pulse_ns
        return self._last_ns + self._hold_ns if self._stands and self._hold_ns else None

    def _let_go(self, now_ns: int) -> None:
        if self._hold_ns and now_ns >= self._last_ns + self._hold_ns:
            self._stands = False
