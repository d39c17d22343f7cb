"""What every board reader answers. The agent knows only this shape."""

from __future__ import annotations

from typing import Protocol


class BoardReader(Protocol):
    """A board telling of itself; None wherever it cannot. Every call reads anew, and none raises or blocks for long."""

    def temperature_c(self) -> float | None:
        """The hottest place that decides about throttling, in degrees Celsius."""
        ...

    def throttling(self) -> tuple[str, ...] | None:
        """Why the board is slowed down right now: words such as ``under-voltage``; empty when it is not."""
        ...

    def power_mode(self) -> str | None:
        """The power mode or frequency governor in force, in the board's own word."""
        ...
