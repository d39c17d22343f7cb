"""One thread, one selector: everything the engine knows is touched only here, so nothing in it needs a lock.

Other threads hand work over with :meth:`Loop.call` and wait for its result. Callbacks must be short; one that raises is
reported and the loop goes on.
"""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from edge_agent.clock import Clock, monotonic_s
from edge_agent.errors import EdgeError

T = TypeVar("T")


class Timer:
    """A callback that is due at ``at_s``; ``cancel`` makes it never happen."""

    def __init__(self, at_s: float, act: Callable[[], None]) -> None:
        self.at_s = at_s
        self.act: Callable[[], None] | None = act

    def cancel(self) -> None:
        self.act = None


class Loop:
    """The engine's thread. ``on_error`` is told of callbacks that raised."""

    def __init__(self, clock: Clock, on_error: Callable[[BaseException], None]) -> None:
        self._clock = clock
        self._on_error = on_error
        self._selector = selectors.DefaultSelector()
        self._calls: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector.register(self._bell, selectors.EVENT_READ, self._woken)
        self._gate = threading.Lock()
        self._running = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        self._running = True
        self._thread.start()

    def stop(self) -> None:
        """End the thread and release its descriptors. Calls still waiting fail with EdgeError."""
        with self._gate:
            self._running = False
            os.eventfd_write(self._bell, 1)
        self._thread.join()
        self._selector.close()
        os.close(self._bell)

    def post(self, act: Callable[[], None]) -> None:
        """Run ``act`` on the loop's thread soon; from any thread. Silently nothing once the loop has stopped."""
        with self._gate:
            if self._running:
                self._calls.append(act)
                os.eventfd_write(self._bell, 1)

    def call(self, act: Callable[[], T]) -> T:
        """Run ``act`` on the loop's thread and return its result or raise its error. From any other thread."""
        if threading.current_thread() is self._thread:
            raise EdgeError("the engine's public methods must not be called from its own callbacks: hand over to another thread")
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(act())
            except BaseException as error:
                future.set_exception(error)

        with self._gate:
            if not self._running:
                raise EdgeError("the engine is not running")
            self._calls.append(run)
            os.eventfd_write(self._bell, 1)
        return future.result()

    def later(self, delay_s: float, act: Callable[[], None]) -> Timer:
        """Run ``act`` once after ``delay_s``. Loop's thread only."""
        timer = Timer(monotonic_s(self._clock) + delay_s, act)
        heapq.heappush(self._timers, (timer.at_s, next(self._order), timer))
        return timer

    def watch(self, fd: int, act: Callable[[], None]) -> None:
        """Run ``act`` whenever ``fd`` can be read. Loop's thread only."""
        self._selector.register(fd, selectors.EVENT_READ, act)

    def unwatch(self, fd: int) -> None:
        """Forget ``fd``; must be called before it is closed. Loop's thread only."""
        try:
            self._selector.unregister(fd)
        except KeyError:
            pass

    def _woken(self) -> None:
        os.eventfd_read(self._bell)

    def _run(self) -> None:
        while self._running:
            for key, _ in self._selector.select(self._pause_s()):
                # An earlier callback of this round may have closed the descriptor, and its number may be another's by now.
                if self._selector.get_map().get(key.fd) is key:
                    self._guard(key.data)
            while self._calls:
                self._guard(self._calls.popleft())
            self._fire_timers()
        while self._calls:
            self._guard(self._calls.popleft())

    def _pause_s(self) -> float | None:
        if self._calls:
            return 0.0
        return max(0.0, self._timers[0][0] - monotonic_s(self._clock)) if self._timers else None

    def _fire_timers(self) -> None:
        while self._timers and self._timers[0][0] <= monotonic_s(self._clock):
            _, _, timer = heapq.heappop(self._timers)
            if timer.act is not None:
                self._guard(timer.act)

    def _guard(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            self._on_error(error)
