"""The front's event loop: one epoll, a heap of timers, one reading of the clock for each turn."""

from __future__ import annotations

import heapq
import itertools
import select
from collections.abc import Callable

from edge_agent.clock import Clock

Handler = Callable[[int], None]
_LONGEST_NS = 3_600_000_000_000


class Loop:
    """One thread. ``now_ns`` is the monotonic time at which this turn began."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._poll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._stopped = False
        self.now_ns = clock.monotonic_ns()

    def watch(self, fd: int, handler: Handler, events: int = select.EPOLLIN) -> None:
        """Call ``handler(events)`` whenever ``fd`` is ready."""
        self._handlers[fd] = handler
        self._poll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        self._poll.modify(fd, events)

    def unwatch(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def later(self, delay_ns: int, act: Callable[[], None]) -> None:
        """Call ``act`` once, ``delay_ns`` from the beginning of this turn."""
        heapq.heappush(self._timers, (self.now_ns + delay_ns, next(self._order), act))

    def stop(self) -> None:
        self._stopped = True

    def run(self) -> None:
        """Until stopped."""
        poll, handlers, timers, clock_ns = self._poll.poll, self._handlers, self._timers, self._clock.monotonic_ns
        while not self._stopped:
            wait_ns = timers[0][0] - self.now_ns if timers else _LONGEST_NS
            ready = poll(wait_ns / 1e9 if wait_ns > 0 else 0)
            self.now_ns = now_ns = clock_ns()
            for fd, events in ready:
                handler = handlers.get(fd)
                if handler is not None:
                    handler(events)
            while timers and timers[0][0] <= now_ns:
                heapq.heappop(timers)[2]()

    def close(self) -> None:
        self._poll.close()
