"""The only place that reads the time.

Durations come from the monotonic clock; wall time is for people and for records that leave the device.
Rules take a :class:`Clock`; tests give them a :class:`ManualClock`.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Protocol


class Clock(Protocol):
    """What the rest of the code may ask about time."""

    def monotonic_ns(self) -> int:
        """Nanoseconds since an arbitrary start; never goes back."""
        ...

    def wall_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC as the board believes it; may jump."""
        ...


class SystemClock:
    """The real clock of this machine. The functions themselves: it is read several times for every window."""

    monotonic_ns = staticmethod(time.monotonic_ns)
    wall_ns = staticmethod(time.time_ns)


class ManualClock:
    """A clock that moves only when told to; both hands move together."""

    def __init__(self, wall_ns: int = 1_700_000_000_000_000_000) -> None:
        self._elapsed_ns = 0
        self._epoch_ns = wall_ns

    def monotonic_ns(self) -> int:
        return self._elapsed_ns

    def wall_ns(self) -> int:
        return self._epoch_ns + self._elapsed_ns

    def advance_s(self, seconds: float) -> None:
        """Move both hands forward by ``seconds``."""
        self._elapsed_ns += int(seconds * 1e9)


def monotonic_s(clock: Clock) -> float:
    """Seconds on the monotonic clock."""
    return clock.monotonic_ns() / 1e9


def iso_utc(wall_ns: int) -> str:
    """RFC 3339 text in UTC with milliseconds, e.g. ``2026-11-20T13:00:00.000Z``."""
    moment = datetime.fromtimestamp(wall_ns / 1e9, tz=timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def from_iso_utc(text: str) -> int:
    """Wall time in nanoseconds of RFC 3339 ``text``. Raises ValueError for anything else, and for a time without its zone."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError(f"{text[:40]!r} does not say which zone it is in")
    return int(moment.timestamp() * 1e9)
