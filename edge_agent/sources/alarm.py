"""Waiting for a time, which another thread may cut short."""

from __future__ import annotations

import threading


class Alarm:
    """What ``threading.Event`` does for one waiter, at the price of a sleep: an event makes and queues a lock for every wait, which at 100
    waits a second costs as much as the waiting itself."""

    def __init__(self) -> None:
        self._quiet = threading.Lock()  # held until it rings
        self._quiet.acquire()

    def wait(self, timeout_s: float) -> None:
        """Until it rings, ``timeout_s`` at most; at once when it rang already."""
        if self._quiet.acquire(timeout=max(0.0, timeout_s)):
            self._quiet.release()

    def ring(self) -> None:
        """Ends this wait and those to come, until :meth:`clear`."""
        try:
            self._quiet.release()
        except RuntimeError:  # it rang already
            pass

    def clear(self) -> None:
        self._quiet.acquire(blocking=False)
