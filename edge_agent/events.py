"""One place where events come together and fan out: the log, telemetry, and whoever waits on the local socket."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from edge_agent.values import Event

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

Listener = Callable[[Event], None]


class EventFan:
    """Calls every listener with every event, on the thread that reported it. Listeners must be short and must not raise."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._listeners: tuple[Listener, ...] = ()

    def report(self, event: Event) -> None:
        """Write ``event`` to the log and hand it to every listener."""
        self._log.log(_LEVELS.get(event.level, logging.INFO), "%s: %s", event.kind, event.message)
        for listener in self._listeners:
            listener(event)

    def subscribe(self, listener: Listener) -> None:
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def unsubscribe(self, listener: Listener) -> None:
        with self._lock:
            self._listeners = tuple(one for one in self._listeners if one is not listener)
