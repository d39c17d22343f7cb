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

    @property
    def needs(self) -> int:
        """So many more samples complete the next window at the soonest."""
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
        self._form: tuple[Any, ...] = ()  # shape of a reading; with its type where that is kept
        self._rows: Any = None
        self._seqs: list[int] = []
        self._times_ns: list[int] = []
        self._skip = 0
        self._unsettled = 0

    @property
    def needs(self) -> int:
        return self._skip + self.length - len(self._seqs)

    def push(self, sample: Sample) -> list[Window]:
        """Takes the next sample or block; the windows it completes.

        A sample of another shape than those held, or a ``seq`` that does not go up (the source started over),
        begins a new window; the rows held are counted in ``discarded``.
        """
        if sample.rows > 1:
            return self._push_block(sample)
        if self.length == 1:
            return self._push_alone(sample)
        values = sample.values
        form = _form(values, 0) if hasattr(values, "shape") else (len(values),)
        if form != self._form or (self._seqs and sample.seq <= self._seqs[-1]):
            self._restart(form)
        self._unsettled += 1
        if self._skip:
            self._skip -= 1
            return []
        self._rows[len(self._seqs)] = values
        self._seqs.append(sample.seq)
        self._times_ns.append(sample.t_ns)
        return [self._emit(sample)] if len(self._seqs) == self.length else []

    def _push_alone(self, sample: Sample) -> list[Window]:
        """A window of one sample; a frame without a copy."""
        self._unsettled += 1
        if self._skip:
            self._skip -= 1
            return []
        seq, t_ns, values = sample.seq, sample.t_ns, sample.values
        if getattr(values, "ndim", 1) < 2:
            values = np.array(values, np.float32, ndmin=2)
        window = Window(sample.source, self.windows, seq, seq, t_ns, t_ns, values, 0, sample.label, self._unsettled)
        self.windows += 1
        self._unsettled, self._skip = 0, self.hop - 1
        return [window]

    def _push_block(self, sample: Sample) -> list[Window]:
        form = _form(sample.values, 1)
        if form != self._form or (self._seqs and sample.seq <= self._seqs[-1]):
            self._restart(form)
        made: list[Window] = []
        taken = 0
        while taken < sample.rows:
            taken += self._skip_over(sample.rows - taken) or self._keep(sample, taken)
            if len(self._seqs) == self.length:
                made.append(self._emit(sample))
        return made

    def _restart(self, form: tuple[Any, ...]) -> None:
        if self._form:  # else nothing was held before
            self.discarded += self._unsettled
            self._skip = self._unsettled = 0
        self._form = form
        self._rows = np.empty((self.length, *form), np.float32) if len(form) == 1 else np.empty((self.length, *form[:-1]), form[-1])
        self._seqs.clear()
        self._times_ns.clear()

    def _skip_over(self, available: int) -> int:
        """Leaves out the samples between two windows; how many."""
        count = min(self._skip, available)
        self._skip -= count
        self._unsettled += count
        return count

    def _keep(self, block: Sample, first: int) -> int:
        """Copies rows from ``first`` on into the window, as many as it takes; how many."""
        start = len(self._seqs)
        count = min(self.length - start, block.rows - first)
        self._rows[start : start + count] = block.values[first : first + count]
        numbers = range(first, first + count)
        self._seqs += [block.seq + number for number in numbers]
        self._times_ns += [block.t_ns + number * block.period_ns for number in numbers]
        self._unsettled += count
        return count

    def _emit(self, last: Sample) -> Window:
        first_seq, last_seq = self._seqs[0], self._seqs[-1]
        kept = max(self.length - self.hop, 0)
        window = Window(
            source=last.source,
            seq=self.windows,
            first_seq=first_seq,
            last_seq=last_seq,
            start_ns=self._times_ns[0],
            end_ns=self._times_ns[-1],
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
        del self._seqs[: self.length - kept], self._times_ns[: self.length - kept]
        if kept:
            self._rows[:kept] = self._rows[self.length - kept :]
        else:
            self._rows = np.empty_like(self._rows)  # the old ones went out with the window


def _form(values: Any, first: int) -> tuple[Any, ...]:
    """The shape of a reading, whose axes begin at ``first``; where it has several, with the type, which is kept."""
    shape: tuple[int, ...] = values.shape[first:]
    return shape if len(shape) == 1 else (*shape, values.dtype)
