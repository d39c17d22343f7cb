"""When to start a process again after it died. Pure: the caller says what time it is."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0


@dataclass(frozen=True, slots=True)
class Restart:
    """``delay_s`` to wait first. ``looping`` is true once: at the death that makes it a crash loop."""

    delay_s: float
    looping: bool


class CrashRecord:
    """Deaths of one thing within the last ``window_s``. Below ``limit`` it starts again at once; from then on slower and slower."""

    def __init__(self, limit: int, window_s: float) -> None:
        self._limit = max(1, limit)
        self._window_s = window_s
        self._deaths: deque[float] = deque(maxlen=self._limit + 16)
        self._told = False

    def died(self, now_s: float) -> Restart:
        """Record a death at ``now_s`` (monotonic seconds) and say what to do."""
        self._deaths.append(now_s)
        while self._deaths[0] < now_s - self._window_s:
            self._deaths.popleft()
        beyond = len(self._deaths) - self._limit
        if beyond < 0:
            return Restart(0.0, False)
        looping, self._told = not self._told, True
        return Restart(min(FIRST_DELAY_S * 2**beyond, LONGEST_DELAY_S), looping)
