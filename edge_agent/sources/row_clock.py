"""When the rows of a stream were captured, that come in blocks and late."""

from __future__ import annotations

from edge_agent.clock import Clock

_SLACK_NS = 1_000_000_000
"""Rows that seem later than this by the count were not only delayed on their way: some are missing, and the count starts anew."""
_FOLLOW = 64
"""A sensor's own clock is followed by this fraction of the difference a block."""


class RowClock:
    """Counts time in rows at ``rate_hz``, held to the clock: the reader's delays do not show, a sensor's drift is followed.

    Times never go back. Without a rate (0) every row of a block has the time it came at.
    """

    def __init__(self, rate_hz: float, clock: Clock) -> None:
        self.period_ns = round(1e9 / rate_hz) if rate_hz > 0 else 0
        self._clock = clock
        self._next_ns: float | None = None
        self._last_ns = 0

    def reset(self) -> None:
        """The stream begins anew."""
        self._next_ns = None

    def stamp(self, rows: int) -> int:
        """Capture time (monotonic ns) of the first of ``rows`` rows, the last of which came just now."""
        came_ns = self._clock.monotonic_ns() - (rows - 1) * self.period_ns
        if not self.period_ns or self._next_ns is None or abs(came_ns - self._next_ns) > _SLACK_NS:
            first_ns = float(came_ns)
        else:
            first_ns = self._next_ns + (came_ns - self._next_ns) / _FOLLOW
        first_ns = max(first_ns, self._last_ns)
        self._next_ns = first_ns + rows * self.period_ns
        self._last_ns = int(first_ns) + (rows - 1) * self.period_ns
        return int(first_ns)
