"""What is said of sinks: once when one is lost, once when it is back, and never a flood."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edge_agent.clock import Clock

Tell = Callable[[str, str, str], None]
"""``tell(kind, level, message)``: an event of the pipeline."""

QUIET_NS = 10_000_000_000
"""A sink that comes and goes is told of no more often than this."""


class SinkNews:
    """Of one sink. May be used from any thread."""

    def __init__(self, name: str, tell: Tell, clock: Clock) -> None:
        self._name, self._tell, self._clock = name, tell, clock
        self._gate = threading.Lock()
        self._told_ns: int | None = None
        self._told_lost = False
        self.error = ""

    def lost(self, error: Exception) -> None:
        """It did not take a prediction."""
        text = str(error) or type(error).__name__
        self.error = text if self._name in text else f"sink {self._name}: {text}"
        with self._gate:
            now_ns = self._clock.monotonic_ns()
            if self._told_lost or (self._told_ns is not None and now_ns < self._told_ns + QUIET_NS):
                return
            self._told_lost, self._told_ns = True, now_ns
        self._tell("sink_lost", "warning", self.error)

    def works(self) -> None:
        """It took one."""
        if not self.error:
            return
        self.error = ""
        with self._gate:
            told, self._told_lost = self._told_lost, False
        if told:
            self._tell("sink_back", "info", f"sink {self._name} takes predictions again")
