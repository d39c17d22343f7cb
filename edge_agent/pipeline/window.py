"""Samples to windows by count: ``length`` samples each, a new one every ``hop`` samples."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from edge_agent.pipeline.time_window import TimeWindower
from edge_agent.values import Sample, Window


class WindowMaker(Protocol):
    """Takes samples in the order of their numbers and hands out windows. Pure: it knows no clock, all times are the samples' own."""

    @property
    def windows(self) -> int:
        """Windows handed out so far."""
        ...

    @property
    def discarded(self) -> int:
        """Samples so far that will be settled by no window: what followed did not fit them, or their window was left out."""
        ...

    def push(self, sample: Sample) -> list[Window]:
        """Takes the next sample, or block of them; the windows it completes, oldest first."""
        ...


def open_windower(length: int, hop: int, length_s: float = 0.0, hop_s: float = 0.0, on_gap: str = "hold") -> WindowMaker:
    """Windows by time when ``length_s`` is given (``hop_s`` 0: one after the other), else by count."""
    if length_s > 0:
        return TimeWindower(length, length_s, hop_s or length_s, on_gap)
    return Windower(length, hop)


class Windower:
    """Windows by count.

    ``hop`` less than ``length`` overlaps, equal tiles, greater leaves ``hop - length`` samples out between windows. Flat values are kept
    as float32, one row a sample; arrays of two axes or more keep their type. Samples missing inside a window (a jump in ``seq``) are
    counted in its ``gaps``, not made up. A window of one sample that is an array of two axes or more is that array, not a copy.
    """

    def __init__(self, length: int, hop: int) -> None:
        if length < 1 or hop < 1:
            raise ValueError(f"length and hop must be 1 or more, are {length} and {hop}")
        self.length = length
        self.hop = hop
        self.windows = 0
        self.discarded = 0
        self._rows: Any = None
        self._seqs = np.empty(length, np.int64)
        self._times_ns = np.empty(length, np.int64)
        self._held = 0
        self._skip = 0
        self._unsettled = 0

    def push(self, sample: Sample) -> list[Window]:
        """Takes the next sample or block; the windows it completes.

        A sample of another shape than those held, or a ``seq`` that does not go up (the source started over),
        begins a new window; the rows held are counted in ``discarded``.
        """
        if self.length == 1 and sample.rows == 1 and getattr(sample.values, "ndim", 1) > 1:
            return self._pass_through(sample)
        block = _as_block(sample)
        if self._does_not_follow(sample, block):
            self._restart()
        if self._rows is None:
            self._rows = np.empty((self.length, *block.shape[1:]), _row_type(block))
        made: list[Window] = []
        taken = 0
        while taken < sample.rows:
            taken += self._skip_over(sample.rows - taken) or self._keep(sample, block, taken)
            if self._held == self.length:
                made.append(self._emit(sample))
        return made

    def _pass_through(self, sample: Sample) -> list[Window]:
        """A frame as it came, without a copy."""
        self._unsettled += 1
        if self._skip:
            self._skip -= 1
            return []
        seq, t_ns = sample.seq, sample.t_ns
        window = Window(sample.source, self.windows, seq, seq, t_ns, t_ns, sample.values, 0, sample.label, self._unsettled)
        self.windows += 1
        self._unsettled, self._skip = 0, self.hop - 1
        return [window]

    def _does_not_follow(self, sample: Sample, block: Any) -> bool:
        if self._rows is None:
            return False
        if block.shape[1:] != self._rows.shape[1:] or (block.ndim > 2 and block.dtype != self._rows.dtype):
            return True
        return self._held > 0 and sample.seq <= int(self._seqs[self._held - 1])

    def _restart(self) -> None:
        self.discarded += self._unsettled
        self._rows = None
        self._held = self._skip = self._unsettled = 0

    def _skip_over(self, available: int) -> int:
        """Leaves out the samples between two windows; how many."""
        count = min(self._skip, available)
        self._skip -= count
        self._unsettled += count
        return count

    def _keep(self, sample: Sample, block: Any, first: int) -> int:
        """Copies rows from ``first`` on into the window, as many as it takes; how many."""
        start = self._held
        count = min(self.length - start, sample.rows - first)
        self._rows[start : start + count] = block[first : first + count]
        if count == 1:
            self._seqs[start] = sample.seq + first
            self._times_ns[start] = sample.t_ns + first * sample.period_ns
        else:
            steps = np.arange(first, first + count, dtype=np.int64)
            self._seqs[start : start + count] = sample.seq + steps
            self._times_ns[start : start + count] = sample.t_ns + steps * sample.period_ns
        self._held += count
        self._unsettled += count
        return count

    def _emit(self, last: Sample) -> Window:
        first_seq, last_seq = int(self._seqs[0]), int(self._seqs[-1])
        kept = max(self.length - self.hop, 0)
        window = Window(
            source=last.source,
            seq=self.windows,
            first_seq=first_seq,
            last_seq=last_seq,
            start_ns=int(self._times_ns[0]),
            end_ns=int(self._times_ns[-1]),
            values=self._rows.copy() if kept else self._rows,
            gaps=last_seq - first_seq + 1 - self.length,
            label=last.label,
            settles=self._unsettled,
        )
        self.windows += 1
        self._unsettled = 0
        self._advance(kept)
        return window

    def _advance(self, kept: int) -> None:
        """Drops the rows that the next window does not share."""
        self._skip = max(self.hop - self.length, 0)
        self._held = kept
        if kept:
            for held in (self._rows, self._seqs, self._times_ns):
                held[:kept] = held[self.length - kept :]
        else:
            self._rows = np.empty_like(self._rows)  # the old ones went out with the window


def _as_block(sample: Sample) -> Any:
    """The values as an array (rows, ...)."""
    if sample.rows > 1:
        return np.asarray(sample.values)
    values = sample.values
    return (values if hasattr(values, "ndim") else np.asarray(values, np.float32))[np.newaxis]


def _row_type(block: Any) -> Any:
    return np.float32 if block.ndim <= 2 else block.dtype
