"""Waiting for what the engine's thread brings about: never for ever, and not beyond the end of the agent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures import wait as wait_for_futures
from typing import Any, TypeVar

from edge_agent.clock import Clock, monotonic_s
from edge_agent.errors import WorkerHung

T = TypeVar("T")

LOOK_S = 0.2
"""How soon a waiting thread sees that nobody needs what it waits for any more."""


class Stopping(Exception):
    """The agent is told to end while it waits for something to start. No EdgeError: nothing failed, and nothing is to be tried instead."""


class Waits:
    """``give_up`` may be called in a signal handler; the others wait."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ending = threading.Event()

    def give_up(self) -> None:
        """From now on waiting for something to start raises :class:`Stopping`."""
        self._ending.set()

    def until(self, future: Future[Any], timeout_s: float, worth_it: Callable[[], bool] = lambda: True) -> bool:
        """Wait for ``future`` as long as it is ``worth_it``; whether it is done. Raises Stopping."""
        deadline_s = monotonic_s(self._clock) + timeout_s
        while not self._ending.is_set():
            if future.done() or monotonic_s(self._clock) >= deadline_s or not worth_it():
                return future.done()
            wait_for_futures([future], LOOK_S)
        raise Stopping

    def start_of(self, future: Future[Any], timeout_s: float, what: str) -> None:
        """Wait for ``future``; its error is raised as it is, a timeout as WorkerHung saying ``what``. Raises Stopping."""
        self.until(future, timeout_s)
        result_of(future, 0.0, what)


def result_of(future: Future[T], timeout_s: float, what: str) -> T:
    """The result of ``future``; its error is raised as it is, a timeout as WorkerHung saying ``what``."""
    try:
        return future.result(timeout_s)
    except FutureTimeout:
        raise WorkerHung(what) from None
