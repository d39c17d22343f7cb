"""Samples to windows by time: ``length_s`` seconds each on an even grid, a new one every ``hop_s``, whatever the pace of the sensor."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_agent.pipeline.track import MOST_ROWS, Track
from edge_agent.values import Sample, Window

GAP_POLICIES = ("hold", "nan", "skip")
REACH_PERIODS = 1.5
"""A row farther than so many periods from every sample is a gap."""
_SPACINGS = 63


@dataclass(frozen=True, slots=True)
class _Grid:
    """The instants of a window's rows (monotonic ns), and between which samples each falls."""

    times_ns: Any
    left: Any
    right: Any


class TimeWindower:
    """Windows by time, resampled by linear interpolation.

    Window ``k`` has ``length`` rows at ``start + k * hop_s + i * length_s / length``; ``start`` is the time of the first sample. It is
    complete with the first sample at or after its last row. A period is the usual time between samples, or between rows if that is longer.
    Gaps hold the value of the sample before them (``hold``) or are NaN (``nan``); ``skip`` leaves out windows that have any, and
    counts their samples as discarded. Windows that are gaps from end to end are never made. Both are counted in ``skipped``.
    """

    def __init__(self, length: int, length_s: float, hop_s: float, on_gap: str = "hold") -> None:
        if length < 1 or length_s <= 0 or hop_s <= 0:
            raise ValueError(f"length, length_s and hop_s must be positive, are {length}, {length_s:g} and {hop_s:g}")
        if on_gap not in GAP_POLICIES:
            raise ValueError(f"on_gap must be one of {', '.join(GAP_POLICIES)}, is {on_gap!r}")
        self.length = length
        self.windows = 0
        self.skipped = 0
        self.discarded = 0
        self._on_gap = on_gap
        self._hop_ns = max(1, round(hop_s * 1e9))
        self._step_ns = length_s * 1e9 / length
        self._offsets_ns = np.rint(np.arange(length) * self._step_ns).astype(np.int64)
        self._span_ns = int(self._offsets_ns[-1])
        self._track: Track | None = None
        self._spacings_ns: deque[float] = deque(maxlen=_SPACINGS)
        self._origin_ns = 0
        self._number = 0  # of the next window, counted from the origin
        self._unsettled = 0

    @property
    def needs(self) -> int:
        """Any sample may be late enough to complete a window."""
        return 1

    def push(self, sample: Sample) -> list[Window]:
        """Takes the next sample or block; the windows it completes. Values of another shape, or a time that goes back, begin anew."""
        made: list[Window] = []
        for first in range(0, sample.rows, MOST_ROWS):
            made += self._push(sample.part(first, min(MOST_ROWS, sample.rows - first)))
        return made

    def _push(self, sample: Sample) -> list[Window]:
        rows = np.asarray(sample.values, np.float32)
        rows = rows if sample.rows > 1 else rows[np.newaxis]
        if self._track is not None and not self._track.fits(sample, rows):
            self._restart()
        if self._track is None:
            self._track = Track(rows.shape[1:])
            self._origin_ns, self._number = sample.t_ns, 0
        self._learn_period(self._track, sample)
        before_ns = self._track.last_ns if len(self._track) else sample.t_ns
        self._track.append(sample, rows)
        self._unsettled += sample.rows
        made: list[Window] = []
        while self._is_complete(self._track):
            self._leave_out_hole(before_ns, sample.t_ns)
            if self._is_complete(self._track):
                made += self._cut(self._track, sample.source)
                self._number += 1
        self._track.forget_before(self._start_ns())
        return made

    def _is_complete(self, track: Track) -> bool:
        return self._start_ns() + self._span_ns <= track.last_ns

    def _start_ns(self) -> int:
        return self._origin_ns + self._number * self._hop_ns

    def _restart(self) -> None:
        self.discarded += self._unsettled
        self._track = None
        self._unsettled = 0
        self._spacings_ns.clear()

    def _learn_period(self, track: Track, sample: Sample) -> None:
        if sample.rows > 1 and sample.period_ns:
            self._spacings_ns.append(sample.period_ns)
        elif len(track) and sample.t_ns > track.last_ns:  # readings that came in one piece have one time
            self._spacings_ns.append(sample.t_ns - track.last_ns)

    def _reach_ns(self) -> float:
        usual_ns = sorted(self._spacings_ns)[len(self._spacings_ns) // 2] if self._spacings_ns else 0.0
        return REACH_PERIODS * max(self._step_ns, usual_ns)

    def _leave_out_hole(self, before_ns: int, after_ns: int) -> None:
        """Jumps over the windows that lie wholly between two samples and out of reach of both."""
        reach_ns = self._reach_ns()
        if self._start_ns() <= before_ns + reach_ns:
            return
        first_within = math.ceil((after_ns - reach_ns - self._span_ns - self._origin_ns) / self._hop_ns)
        if first_within > self._number:
            self.skipped += first_within - self._number
            self._number = first_within

    def _cut(self, track: Track, source: str) -> list[Window]:
        """The window that starts now; none when its gaps leave it out."""
        grid = self._grid(track)
        values, gaps = self._resample(track, grid)
        if gaps == self.length or (gaps and self._on_gap == "skip"):
            self.skipped += 1
            self.discarded += self._unsettled
            self._unsettled = 0
            return []
        return [self._window(track, source, grid, values, gaps)]

    def _grid(self, track: Track) -> _Grid:
        times_ns = self._start_ns() + self._offsets_ns
        right = np.searchsorted(track.times_ns, times_ns, side="right")
        return _Grid(times_ns, np.maximum(right - 1, 0), np.minimum(right, len(track) - 1))

    def _resample(self, track: Track, grid: _Grid) -> tuple[Any, int]:
        """Values (length, ...) and how many of the rows are gaps."""
        before_ns = np.abs(grid.times_ns - track.times_ns[grid.left])
        after_ns = np.abs(track.times_ns[grid.right] - grid.times_ns)
        share = before_ns / np.maximum(before_ns + after_ns, 1)
        share = share.reshape(-1, *[1] * (track.rows.ndim - 1)).astype(np.float32)
        held = track.rows[grid.left]
        values = held + (track.rows[grid.right] - held) * share
        gap = np.minimum(before_ns, after_ns) > self._reach_ns()
        values[gap] = np.nan if self._on_gap == "nan" else held[gap]
        return values, int(gap.sum())

    def _window(self, track: Track, source: str, grid: _Grid, values: Any, gaps: int) -> Window:
        last = int(grid.left[-1])
        window = Window(
            source=source,
            seq=self.windows,
            first_seq=int(track.seqs[grid.left[0]]),
            last_seq=int(track.seqs[last]),
            start_ns=int(grid.times_ns[0]),
            end_ns=int(grid.times_ns[-1]),
            values=values,
            gaps=gaps,
            label=track.label(last),
            settles=self._unsettled,
        )
        self.windows += 1
        self._unsettled = 0
        return window
