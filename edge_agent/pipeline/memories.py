"""What steps remember from window to window: the last scores (``smooth``), whether an alarm is on (``hysteresis``), the last labels
(``smooth`` by majority, ``debounce``).

A memory belongs to one stream of windows. It begins empty, and a window whose scores are not all numbers leaves no trace in it.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, Protocol

import numpy as np

MAX_WINDOWS = 1024
MAX_REMEMBERED = 1 << 20
"""Values that one step may remember."""


class Memory(Protocol):
    """Something a step remembers."""

    def reset(self) -> None:
        """Forget everything."""

    def adopt(self, before: Any) -> None:
        """Remember what ``before`` does, a memory made by the same step."""


class ScoreMemory(Memory, Protocol):
    """Makes scores of scores."""

    def __call__(self, scores: Any) -> Any:
        """Scores (n,) of this window to scores (n,)."""


class LabelMemory(Memory, Protocol):
    """Makes a label of labels."""

    def __call__(self, label: str | None) -> str | None:
        """The label of this window to the one that is reported."""


class LastScores:
    """Mean or median of the scores of the last ``windows`` windows, of as many as there are yet."""

    def __init__(self, kind: str, windows: int) -> None:
        self._join = np.median if kind == "median" else np.mean
        self._windows = windows
        self._rows: deque[Any] = deque(maxlen=windows)

    def __call__(self, scores: Any) -> Any:
        if scores.size * self._windows > MAX_REMEMBERED:
            raise ValueError(f"{self._windows} windows of {scores.size} scores are more than the {MAX_REMEMBERED} that may be remembered")
        if np.isnan(scores).any():
            return scores
        if self._rows and self._rows[0].shape != scores.shape:
            self._rows.clear()
        self._rows.append(scores.copy())  # the array may lie where the next answer will
        return self._join(np.stack(self._rows), axis=0)

    def reset(self) -> None:
        self._rows.clear()

    def adopt(self, before: LastScores) -> None:
        self._rows = before._rows.copy()


class MovingAverage:
    """Exponential: each window counts ``alpha``, all before it the rest; the first counts whole."""

    def __init__(self, alpha: float) -> None:
        self._alpha = alpha
        self._mean: Any = None

    def __call__(self, scores: Any) -> Any:
        if np.isnan(scores).any():
            return scores
        fresh = self._mean is None or self._mean.shape != scores.shape or not np.isfinite(self._mean).all()
        self._mean = scores.copy() if fresh else self._mean + self._alpha * (scores - self._mean)
        return self._mean

    def reset(self) -> None:
        self._mean = None

    def adopt(self, before: MovingAverage) -> None:
        self._mean = before._mean


class Hysteresis:
    """The place of the winning score, which must reach ``on`` to win, and then holds until it falls below ``off`` or another wins."""

    def __init__(self, on: float, off: float) -> None:
        self.on, self.off = on, off
        self._held: int | None = None

    def __call__(self, scores: Any) -> int | None:
        """``None`` when nothing holds."""
        best = int(np.argmax(scores))
        if scores[best] >= self.on:
            self._held = best
        elif self._held is not None and not (self._held < scores.size and scores[self._held] >= self.off):
            self._held = None
        return self._held

    def reset(self) -> None:
        self._held = None

    def adopt(self, before: Hysteresis) -> None:
        self._held = before._held


class Majority:
    """The most frequent label of the last ``windows`` windows, no label being one too; of equals the latest."""

    def __init__(self, windows: int) -> None:
        self._labels: deque[str | None] = deque(maxlen=windows)

    def __call__(self, label: str | None) -> str | None:
        self._labels.append(label)
        counts = Counter(self._labels)
        most = max(counts.values())
        return next(each for each in reversed(self._labels) if counts[each] == most)

    def reset(self) -> None:
        self._labels.clear()

    def adopt(self, before: Majority) -> None:
        self._labels = before._labels.copy()


class Debounce:
    """A label once ``windows`` windows in a row gave it; until then the one before, and none at the start."""

    def __init__(self, windows: int) -> None:
        self._windows = windows
        self._settled: str | None = None
        self._coming: str | None = None
        self._run = 0

    def __call__(self, label: str | None) -> str | None:
        self._run = self._run + 1 if label == self._coming else 1
        self._coming = label
        if self._run >= self._windows:
            self._settled = label
        return self._settled

    def reset(self) -> None:
        self._settled, self._coming, self._run = None, None, 0

    def adopt(self, before: Debounce) -> None:
        self._settled, self._coming, self._run = before._settled, before._coming, before._run
