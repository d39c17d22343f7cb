"""The samples that windows by time still need, with their times: appended at one end, forgotten at the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_agent.values import Sample

MOST_ROWS = 1 << 20
"""Rows kept at most, however fast the source and long the window; the oldest go first and their part of the window is a gap."""
_NO_LABEL = np.iinfo(np.int64).min
_FIRST_ROOM = 64


class Track:
    """Rows with number, time and label, oldest first. Times never go back."""

    def __init__(self, row_shape: tuple[int, ...]) -> None:
        self._row_shape = row_shape
        self._rows: Any = np.empty((_FIRST_ROOM, *row_shape), np.float32)
        self._marks: Any = np.empty((3, _FIRST_ROOM), np.int64)  # times, numbers, labels
        self._start = 0
        self._end = 0

    def __len__(self) -> int:
        return self._end - self._start

    @property
    def rows(self) -> Any:
        return self._rows[self._start : self._end]

    @property
    def times_ns(self) -> Any:
        return self._marks[0, self._start : self._end]

    @property
    def seqs(self) -> Any:
        return self._marks[1, self._start : self._end]

    @property
    def last_ns(self) -> int:
        return int(self._marks[0, self._end - 1])

    def label(self, index: int) -> int | None:
        label = int(self._marks[2, self._start + index])
        return None if label == _NO_LABEL else label

    def fits(self, sample: Sample, rows: Any) -> bool:
        """Whether ``sample`` can follow what is held."""
        return rows.shape[1:] == self._row_shape and (not len(self) or sample.t_ns >= self.last_ns)

    def append(self, sample: Sample, rows: Any) -> None:
        count = sample.rows
        self._make_room(count)
        place = slice(self._end, self._end + count)
        steps = np.arange(count, dtype=np.int64)
        self._rows[place] = rows
        self._marks[0, place] = sample.t_ns + steps * sample.period_ns
        self._marks[1, place] = sample.seq + steps
        self._marks[2, place] = _NO_LABEL if sample.label is None else sample.label
        self._end += count

    def forget_before(self, t_ns: int) -> None:
        """Drops what no window from ``t_ns`` on needs: all but the last sample at or before it."""
        unneeded = int(np.searchsorted(self.times_ns, t_ns, side="right")) - 1
        self._start += max(0, min(unneeded, len(self) - 1))

    def _make_room(self, count: int) -> None:
        if self._end + count <= self._marks.shape[1]:
            return
        if len(self) + count > MOST_ROWS:
            self._start = self._end - max(0, MOST_ROWS - count)
        held = len(self)
        room = max(_FIRST_ROOM, 2 * (held + count))
        rows = np.empty((room, *self._row_shape), np.float32)
        marks = np.empty((3, room), np.int64)
        rows[:held], marks[:, :held] = self.rows, self._marks[:, self._start : self._end]
        self._rows, self._marks, self._start, self._end = rows, marks, 0, held
