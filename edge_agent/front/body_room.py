"""How many bytes of bodies all clients together may have here, so that many large ones cannot exhaust the memory of the device."""

from __future__ import annotations

from edge_agent.front.http_head import HttpError

BODIES = 4
"""Of the largest size, at a time. Small bodies, which come in one piece, are not counted."""


class BodyRoom:
    """Shared by all connections."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._held = 0

    def has(self, size: int) -> bool:
        return self._held + size <= self._limit

    def take(self, size: int) -> None:
        """Raises HttpError 503 when there is no room for ``size`` bytes more."""
        if not self.has(size):
            text = f"the bodies of other requests take up the {self._limit} bytes there are for them; try again"
            raise HttpError(503, text, closes=True, extra=b"Retry-After: 1\r\n")
        self._held += size

    def give_back(self, size: int) -> None:
        self._held -= size
