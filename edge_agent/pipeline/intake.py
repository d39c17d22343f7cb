"""Reads a source on a thread of its own into a bounded queue that drops the oldest and counts it."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.clock import Clock
from edge_agent.errors import SourceEnded
from edge_agent.ports import Source
from edge_agent.values import Sample

READ_TIMEOUT_S = 0.25
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0

Tell = Callable[[str, str, str], None]
"""``tell(kind, level, message)``: an event of the pipeline."""


@dataclass(frozen=True, slots=True)
class IntakeCounts:
    """Samples so far: ``produced`` by the source, ``dropped`` because the queue was full, ``waiting`` in it now."""

    produced: int
    dropped: int
    waiting: int


class Intake:
    """The reader thread and its queue. ``bell_fd`` can be read when something was put into an empty queue, or the source ended."""

    def __init__(self, source: Source, capacity: int, clock: Clock, tell: Tell, jitter: Callable[[], float]) -> None:
        self._source = source
        self._clock = clock
        self._tell = tell
        self._jitter = jitter
        self._queue: deque[tuple[Sample, int]] = deque()
        self._capacity = capacity
        self._gate = threading.Lock()
        self._stopping = threading.Event()
        self._produced = 0
        self._dropped = 0
        self._garbage_told = 1
        self.ended = False
        self.last_error = ""
        self.bell_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Ask the thread to end and wait for it up to ``timeout_s``; it is a daemon and dies with the process otherwise."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def take(self) -> tuple[Sample, int] | None:
        """The oldest waiting sample and when it was queued (monotonic ns)."""
        with self._gate:
            return self._queue.popleft() if self._queue else None

    def counts(self) -> IntakeCounts:
        """All three from one moment."""
        with self._gate:
            return IntakeCounts(self._produced, self._dropped, len(self._queue))

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                self._source.open()
                while not self._stopping.is_set():
                    sample = self._source.read(READ_TIMEOUT_S)
                    if failures:
                        failures, self.last_error = 0, ""
                        self._tell("source_back", "info", f"source {self._source.name} is back")
                    if sample is not None:
                        self._put(sample)
                    if self._source.garbage >= self._garbage_told:
                        self._tell_garbage()
            except SourceEnded:
                self.ended = True
                break
            except Exception as error:  # a driver's own error must not end the reading for ever
                failures += 1
                self.last_error = str(error) or type(error).__name__
                if failures == 1:
                    self._tell("source_lost", "warning", f"source {self._source.name}: {self.last_error}")
                self._source.close()
                self._stopping.wait(pause_s(failures, self._jitter()))
        self._source.close()
        os.eventfd_write(self.bell_fd, 1)

    def _tell_garbage(self) -> None:
        """At the first one and at every tenfold: a sensor that speaks another format must not look like an idle one."""
        count = self._source.garbage
        while self._garbage_told <= count:
            self._garbage_told *= 10
        what = f"source {self._source.name}: {count} readings so far could not be understood; check its framing and fields"
        self._tell("source_garbage", "warning", what)

    def _put(self, sample: Sample) -> None:
        now_ns = self._clock.monotonic_ns()
        with self._gate:
            self._produced += 1
            if len(self._queue) >= self._capacity:
                self._queue.popleft()
                self._dropped += 1
            self._queue.append((sample, now_ns))
            first = len(self._queue) == 1
        if first:
            os.eventfd_write(self.bell_fd, 1)


def pause_s(failures: int, jitter: float) -> float:
    """How long to wait before opening a failed source again: doubling, capped, and up to half of it taken off by ``jitter`` in [0, 1)."""
    return float(min(FIRST_PAUSE_S * 2 ** min(failures - 1, 10), LONGEST_PAUSE_S) * (1 - jitter / 2))
