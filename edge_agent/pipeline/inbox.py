"""Messages from the broker, on their way through the control process to an ``mqtt`` source. Bounded; the oldest go first."""

from __future__ import annotations

import threading
from collections import deque

INBOX_MESSAGES = 4096
INBOX_BYTES = 64 << 20


class Inbox:
    """Filled by the pipeline's main thread, emptied by its intake."""

    def __init__(self, capacity: int = INBOX_MESSAGES, max_bytes: int = INBOX_BYTES) -> None:
        self._messages: deque[tuple[str, bytes]] = deque()
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._bytes = 0
        self._change = threading.Condition()
        self.lost = 0

    def __len__(self) -> int:
        """Messages that wait."""
        return len(self._messages)

    def put(self, topic: str, payload: bytes) -> None:
        """Add a message; when full, by messages or bytes, the oldest are dropped and counted in ``lost``."""
        with self._change:
            self._messages.append((topic, payload))
            self._bytes += len(payload)
            while len(self._messages) > self._capacity or self._bytes > self._max_bytes:
                self._bytes -= len(self._messages.popleft()[1])
                self.lost += 1
            self._change.notify()

    def get(self, timeout_s: float) -> tuple[str, bytes] | None:
        """The oldest message as (topic, payload), ``None`` when none came within ``timeout_s``."""
        with self._change:
            if not self._messages:
                self._change.wait(timeout_s)
            if not self._messages:
                return None
            message = self._messages.popleft()
            self._bytes -= len(message[1])
            return message
