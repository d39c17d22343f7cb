"""Inputs that killed two workers. They are not given to a third."""

from __future__ import annotations

from collections import OrderedDict

MOST = 64


class Quarantine:
    """Fingerprints of inputs, the ones seen longest ago are forgotten first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def add(self, fingerprint: bytes) -> None:
        self._known[fingerprint] = None
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def holds(self, fingerprint: bytes) -> bool:
        """Whether it is known; being asked for keeps it known for longer."""
        known = fingerprint in self._known
        if known:
            self._known.move_to_end(fingerprint)
        return known
