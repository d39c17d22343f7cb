"""How a pipeline speaks to the engine: events when they happen, its status about once a second while something changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edge_agent.clock import Clock
from edge_agent.errors import EdgeError
from edge_agent.inference.wire import Channel, ChannelFull

STATUS_EVERY_NS = 1_000_000_000
STATUS_AT_FIRST_NS = 250_000_000
FIRST_NS = 20_000_000_000
"""For so long after its start a pipeline is looked at more closely; later each look would cost as much as a small model's inference."""
HEARTBEAT_EVERY_NS = 1_000_000_000
TOTALS_EVERY_NS = 2_000_000_000
SEND_TIMEOUT_S = 1.0
CONTROL_TIMEOUT_S = 30.0


class Voice:
    """Events may come from any thread; the status from the main thread only."""

    def __init__(self, channel: Channel, clock: Clock) -> None:
        self._channel = channel
        self._clock = clock
        self._told: Mapping[str, Any] = {}
        self._told_ns = 0
        self._looked_ns = 0
        self._totals_ns = 0
        self._every_ns = STATUS_AT_FIRST_NS
        self._settled_ns = clock.monotonic_ns() + FIRST_NS

    def say(self, message: Mapping[str, Any], timeout_s: float = CONTROL_TIMEOUT_S) -> None:
        """Raises ChannelClosed, and ChannelFull when the engine does not listen for so long."""
        self._channel.send(message, timeout_s=timeout_s)

    def event(self, kind: str, level: str, text: str, data: Mapping[str, Any] | None = None) -> None:
        """Tell something that happened; given up when the engine does not listen, the work matters more."""
        try:
            self.say({"event": "event", "kind": kind, "level": level, "message": text, "data": dict(data or {})}, SEND_TIMEOUT_S)
        except EdgeError:
            pass

    def pause_ms(self) -> float:
        """Until the next look at the status is due."""
        return max(0.0, (self._looked_ns + self._every_ns - self._clock.monotonic_ns()) / 1e6)

    def due(self) -> bool:
        """Whether it is time to look at the status again; once true, false for a while."""
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._looked_ns + self._every_ns:
            return False
        self._looked_ns = now_ns
        if now_ns > self._settled_ns:
            self._every_ns = STATUS_EVERY_NS
        return True

    def status(self, brief: Mapping[str, Any], totals: Callable[[], Mapping[str, Any]], *, now: bool = False) -> None:
        """Say the status when ``brief`` changed, as a heartbeat each second, or because ``now``.

        ``totals`` are what costs to gather and to read: at most every two seconds, and whenever ``state`` changed.
        """
        now_ns = self._clock.monotonic_ns()
        if not now and brief == self._told and now_ns < self._told_ns + HEARTBEAT_EVERY_NS:
            return
        whole = now or brief["state"] != self._told.get("state") or now_ns >= self._totals_ns + TOTALS_EVERY_NS
        try:
            self.say({"event": "status", **brief, **(totals() if whole else {})}, SEND_TIMEOUT_S)
        except ChannelFull:
            return
        self._told, self._told_ns = brief, now_ns
        if whole:
            self._totals_ns = now_ns
