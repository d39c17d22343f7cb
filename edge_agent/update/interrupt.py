"""How other threads reach the one that updates."""

from __future__ import annotations

import threading


class Stopped(Exception):
    """The agent ends; the act stays in the journal and is taken up at the next start."""


class Cancelled(Exception):
    """Somebody took the command back."""


class Interrupt:
    """Cancelled, stopped, or woken; every act looks here where it can end early."""

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._cancelled = False
        self._stopping = False

    @property
    def stopping(self) -> bool:
        return self._stopping

    @property
    def wanted(self) -> bool:
        return self._stopping or self._cancelled

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        self._cancelled = True
        self._woken.set()

    def stop(self) -> None:
        self._stopping = True
        self._woken.set()

    def wake(self) -> None:
        self._woken.set()

    def forget(self) -> None:
        """A new update begins: what was cancelled before does not concern it."""
        self._cancelled = False

    def check(self) -> None:
        """Raises :class:`Stopped` or :class:`Cancelled` when either was asked for."""
        if self._stopping:
            raise Stopped
        if self._cancelled:
            raise Cancelled

    def wait(self, timeout_s: float | None) -> None:
        """Return after ``timeout_s``, or at once when something happened."""
        if not self._stopping and self._woken.wait(timeout_s):
            self._woken.clear()
