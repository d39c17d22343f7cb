"""Samples to windows: ``length`` samples each, a new one every ``hop`` samples."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from edge_agent.values import Sample, Window


class Windower:
    """Collects samples and hands out windows. Pure: it knows no clock, all times are the samples' own.

    ``hop`` less than ``length`` overlaps, equal tiles, greater leaves ``hop - length`` samples out between windows. Values are kept as
    float32, one row a sample. Samples missing inside a window (a jump in ``seq``) are counted in its ``gaps``, not made up.
    """

    def __init__(self, length: int, hop: int) -> None:
        if length < 1 or hop < 1:
            raise ValueError(f"length and hop must be 1 or more, are {length} and {hop}")
        self.length = length
        self.hop = hop
        self.windows = 0
        self.discarded = 0  # samples that ended in no window because what followed did not fit them
        self._rows: Any = None
        self._marks: deque[tuple[int, int]] = deque(maxlen=length)  # (seq, t_ns) of the rows held
        self._skip = 0

    def push(self, sample: Sample) -> Window | None:
        """Takes the next sample; the window it completes, if it does.

        A sample with another number of channels than those held, or a ``seq`` that does not go up (the source started over),
        begins a new window; the rows held are counted in ``discarded``.
        """
        if self._does_not_follow(sample):
            self._restart()
        if self._skip:
            self._skip -= 1
            return None
        if self._rows is None:
            self._rows = np.empty((self.length, len(sample.values)), np.float32)
        self._rows[len(self._marks)] = sample.values
        self._marks.append((sample.seq, sample.t_ns))
        return self._emit(sample) if len(self._marks) == self.length else None

    def _does_not_follow(self, sample: Sample) -> bool:
        if self._rows is None:
            return False
        return len(sample.values) != self._rows.shape[1] or bool(self._marks and sample.seq <= self._marks[-1][0])

    def _restart(self) -> None:
        self.discarded += len(self._marks)
        self._marks.clear()
        self._rows = None
        self._skip = 0

    def _emit(self, last: Sample) -> Window:
        first_seq, start_ns = self._marks[0]
        window = Window(
            source=last.source,
            seq=self.windows,
            first_seq=first_seq,
            last_seq=last.seq,
            start_ns=start_ns,
            end_ns=last.t_ns,
            values=self._rows.copy(),
            gaps=last.seq - first_seq + 1 - self.length,
            label=last.label,
        )
        self.windows += 1
        self._advance()
        return window

    def _advance(self) -> None:
        """Drops the rows that the next window does not share."""
        kept = max(self.length - self.hop, 0)
        self._skip = max(self.hop - self.length, 0)
        if kept:
            self._rows[:kept] = self._rows[self.length - kept :].copy()
        for _ in range(self.length - kept):
            self._marks.popleft()
