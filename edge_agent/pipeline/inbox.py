"""Messages from the broker, on their way through the control process to an ``mqtt`` source. Bounded; the oldest go first."""

from __future__ import annotations

import threading
from collections import deque

INBOX_MESSAGES = 4096


class Inbox:
    """Filled by the pipeline's main thread, emptied by its intake thread."""

    def __init__(self, capacity: int = INBOX_MESSAGES) -> None:
        self._messages: deque[tuple[str, bytes]] = deque()
        self._capacity = capacity
        self._change = threading.Condition()
        self.lost = 0

    def put(self, topic: str, payload: bytes) -> None:
        """Add a message; when full the oldest is dropped and counted in ``lost``."""
        with self._change:
            if len(self._messages) >= self._capacity:
                self._messages.popleft()
                self.lost += 1
            self._messages.append((topic, payload))
            self._change.notify()

    def get(self, timeout_s: float) -> tuple[str, bytes] | None:
        """The oldest message as (topic, payload), ``None`` when none came within ``timeout_s``."""
        with self._change:
            if not self._messages:
                self._change.wait(timeout_s)
            return self._messages.popleft() if self._messages else None
