"""When to start a process again after it died. Pure: the caller says what time it is."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0
FLURRY = 20
FLURRY_WINDOW_S = 10.0


@dataclass(frozen=True, slots=True)
class Restart:
    """``delay_s`` to wait first. ``looping`` is true once: at the death that makes it a crash loop."""

    delay_s: float
    looping: bool


class CrashRecord:
    """Deaths of one thing within the last ``window_s``.

    What died before it did anything useful starts again at once below ``limit`` deaths, and from then on slower and slower. What had been
    of use is started again at once as well beyond that: whoever waits for it is better served, and a model that dies on one input in a
    thousand answers the others. Only a flurry of such deaths (20 in 10 s) is slowed down, so that starting cannot take the board.
    """

    def __init__(self, limit: int, window_s: float) -> None:
        self._limit = max(1, limit)
        self._window_s = window_s
        self._deaths: deque[float] = deque(maxlen=max(self._limit, FLURRY) + 16)
        self._useless = 0
        self._told = False

    def died(self, now_s: float, *, useful: bool = False) -> Restart:
        """Record a death at ``now_s`` (monotonic seconds) of something that was ``useful`` before, and say what to do."""
        self._deaths.append(now_s)
        while self._deaths[0] < now_s - self._window_s:
            self._deaths.popleft()
        self._useless = 0 if useful else self._useless + 1
        beyond = len(self._deaths) - self._limit
        if beyond < 0:
            return Restart(0.0, False)
        looping, self._told = not self._told, True
        return Restart(self._delay_s(now_s, beyond, useful=useful), looping)

    def _delay_s(self, now_s: float, beyond: int, *, useful: bool) -> float:
        if not useful:
            return float(min(FIRST_DELAY_S * 2 ** min(beyond, self._useless - 1), LONGEST_DELAY_S))
        flurry = sum(death > now_s - FLURRY_WINDOW_S for death in self._deaths)
        return FIRST_DELAY_S if flurry > FLURRY else 0.0
