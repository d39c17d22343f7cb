"""What only the engine can do: loading and unloading a model. The client's answer waits for the engine's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from edge_agent.front.loop import Loop

LIMIT_NS = 120_000_000_000


class Calls:
    """Questions to the engine that wait for its word."""

    def __init__(self, loop: Loop, say: Callable[[Mapping[str, Any]], None]) -> None:
        self._loop = loop
        self._say = say
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Callable[[str], None]] = {}

    def ask(self, call: str, model: str, then: Callable[[str], None]) -> None:
        """Have the engine ``load`` or ``unload`` ``model``; ``then(error)`` with an empty error when it did."""
        number = next(self._numbers)
        self._waiting[number] = then
        self._say({"event": "call", "id": number, "call": call, "model": model})
        self._loop.later(LIMIT_NS, lambda: self.done(number, f"not {call}ed within {LIMIT_NS / 1e9:.0f} s"))

    def done(self, number: int, error: str) -> None:
        """The engine's word on call ``number``."""
        then = self._waiting.pop(number, None)
        if then is not None:
            then(error)
