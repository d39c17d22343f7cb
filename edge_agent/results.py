"""What became of an update, for callers on this device that wait for it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Settled:
    """The end of a command: ``status`` done, refused or failed, and why."""

    status: str
    reason: str
    data: Mapping[str, Any] = field(default_factory=dict)


class ResultBoard:
    """Commands that somebody waits for, by id. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, queue.SimpleQueue[Settled]] = {}

    def expect(self, command_id: str) -> queue.SimpleQueue[Settled]:
        """A queue that gets the one :class:`Settled` of ``command_id``."""
        with self._lock:
            return self._waiting.setdefault(command_id, queue.SimpleQueue())

    def settle(self, command_id: str, settled: Settled) -> bool:
        """Hand ``settled`` to whoever waits; False when nobody does."""
        with self._lock:
            waiter = self._waiting.pop(command_id, None)
        if waiter is None:
            return False
        waiter.put(settled)
        return True

    def forget(self, command_id: str) -> None:
        with self._lock:
            self._waiting.pop(command_id, None)
