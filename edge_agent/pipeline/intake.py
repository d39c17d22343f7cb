"""Reads a source on a thread of its own into a bounded queue, and accounts for every sample."""

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
STEADY_NS = 5_000_000_000
"""A source that stayed open for so long starts again with short pauses when it fails; one that fails sooner waits longer each time."""

POLICIES = ("drop_oldest", "block", "latest_only")
"""What happens when samples come faster than they are taken; see :class:`Intake`."""

Tell = Callable[[str, str, str], None]
"""``tell(kind, level, message)``: an event of the pipeline."""

Queued = tuple[Sample, int]
"""A sample, and when it was queued (monotonic ns)."""


@dataclass(frozen=True, slots=True)
class IntakeCounts:
    """Samples so far (a block counts its rows): ``produced`` by the source, ``dropped`` for want of room, ``waiting`` now.

    What was produced and is neither dropped nor waiting was taken.
    """

    produced: int
    dropped: int
    waiting: int


def waiting_room(policy: str, queue: int, length: int, hop: int, *, by_time: bool = False) -> int:
    """The capacity an intake needs: ``queue``, but never less than a window and its hop, which would tear every window. One for
    ``latest_only`` with windows of one sample: then only the newest sample is worth waiting for."""
    if by_time:
        return queue
    if policy == "latest_only" and length == 1:
        return 1
    return max(queue, length + hop) if length > 1 else queue


class Intake:
    """The reader thread and its queue. ``bell_fd`` can be read when something was put into an empty queue (or as much as
    :meth:`enough` asked for), or the source ended.

    ``capacity`` is in samples; a block takes as many as it has rows and is split where the room ends. When there is no room

    - ``drop_oldest`` and ``latest_only`` drop the oldest samples and count them. With ``latest_only`` the other side takes all that waits
      at once (:meth:`take_all`) and asks the model only about the newest window in it, so that a long window is never torn.
    - ``block`` makes the reader wait: nothing that can wait (a file, a pipe, a socket) is lost. A sensor that cannot wait loses elsewhere.

    A source may drop samples itself before they are read (a camera's older frames): its ``lost`` counts as produced and dropped.
    """

    def __init__(
        self, source: Source, capacity: int, clock: Clock, tell: Tell, jitter: Callable[[], float], policy: str = "drop_oldest"
    ) -> None:
        if policy not in POLICIES or capacity < 1:
            raise ValueError(f"policy must be one of {', '.join(POLICIES)} and capacity positive, are {policy!r} and {capacity}")
        self._source = source
        self._clock = clock
        self._tell = tell
        self._jitter = jitter
        self._policy = policy
        self._queue: deque[Queued] = deque()
        self._capacity = capacity
        self._gate = threading.Lock()
        self._room = threading.Condition(self._gate)
        self._stopping = threading.Event()
        self._produced = 0
        self._dropped = 0
        self._waiting = 0
        self._ring_at = 1
        self._rung = False
        self._held = 0  # rows in the reader's hand for which there is no room yet
        self._garbage_told = 1
        self._lost_told = False
        self.ended = False
        self.last_error = ""
        self.bell_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Ask the thread to end and wait for it up to ``timeout_s``; it is a daemon and dies with the process otherwise."""
        self._stopping.set()
        with self._gate:
            self._room.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def take(self) -> Queued | None:
        """The oldest waiting sample or block and when it was queued (monotonic ns)."""
        if not self._queue:  # one look without the lock: what is put in right after it rings the bell
            return None
        with self._gate:
            if not self._queue:
                return None
            queued = self._queue.popleft()
            self._waiting -= queued[0].rows
            if not self._queue:
                self._rung = False
            if self._held and self._waiting <= self._capacity // 2:  # not for every one: waking a thread costs more than a sample
                self._room.notify()
            return queued

    def take_all(self) -> list[Queued]:
        """Everything that waits, oldest first."""
        with self._gate:
            taken = list(self._queue)
            self._queue.clear()
            self._waiting = 0
            self._rung = False
            if self._held:
                self._room.notify()
            return taken

    def enough(self, rows: int) -> bool:
        """Whether ``rows`` samples wait, or as many as there is room for. If not, the bell rings once they do, and not before: a window of
        a hundred samples needs waking for once."""
        with self._gate:
            self._ring_at = max(1, min(rows, self._capacity))
            self._rung = False
            if self._held:
                self._room.notify()
            return self._waiting >= self._ring_at

    def wait_ms(self) -> float | None:
        """How long at most to wait for the bell; None: as long as one likes."""
        return None

    def counts(self) -> IntakeCounts:
        """All three from one moment."""
        lost = getattr(self._source, "lost", 0)
        with self._gate:
            return IntakeCounts(self._produced + lost, self._dropped + lost, self._waiting + self._held)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            opened_ns = self._clock.monotonic_ns()
            try:
                self._source.open()
                self._read_on()
            except SourceEnded:
                self.ended = True
                break
            except Exception as error:  # a driver's own error must not end the reading for ever
                failures = self._failures_after(failures, opened_ns)
                self._say_lost(str(error) or type(error).__name__)
                self._source.close()
                self._stopping.wait(pause_s(failures, self._jitter()))
        self._source.close()
        os.eventfd_write(self.bell_fd, 1)

    def _read_on(self) -> None:
        """Reads until told to stop. Raises what the source raises."""
        while not self._stopping.is_set():
            sample = self._source.read(READ_TIMEOUT_S)
            self._tell_back()
            if sample is not None:
                self._put(sample)
            if self._source.garbage >= self._garbage_told:
                self._tell_garbage()

    def _failures_after(self, failures: int, opened_ns: int) -> int:
        """Failures in a row, with the one that came now: a source that stayed open for long starts anew."""
        return 1 if self._clock.monotonic_ns() - opened_ns >= STEADY_NS else failures + 1

    def _tell_back(self) -> None:
        if self._lost_told:
            self._lost_told, self.last_error = False, ""
            self._tell("source_back", "info", f"source {self._source.name} is back")

    def _say_lost(self, reason: str) -> None:
        self.last_error = reason
        if not self._lost_told:
            self._lost_told = True
            name = f"source {self._source.name}: "
            self._tell("source_lost", "warning", name + reason.removeprefix(name))

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
            self._produced += sample.rows
            put = self._put_when_room if self._policy == "block" else self._put_over_oldest
            ring = put(sample, now_ns)
        if ring:
            os.eventfd_write(self.bell_fd, 1)

    def _put_over_oldest(self, sample: Sample, now_ns: int) -> bool:
        """With the gate held. Whether the bell is to be rung."""
        over = self._waiting + sample.rows - self._capacity
        while over > 0 and self._queue:
            over -= self._drop_oldest(over)
        if over > 0:  # a block larger than the whole room
            sample = sample.part(over, sample.rows - over)
            self._dropped += over
        return self._append(sample, now_ns)

    def _drop_oldest(self, most: int) -> int:
        oldest, queued_ns = self._queue.popleft()
        count = min(most, oldest.rows)
        if count < oldest.rows:
            self._queue.appendleft((oldest.part(count, oldest.rows - count), queued_ns))
        self._waiting -= count
        self._dropped += count
        return count

    def _put_when_room(self, sample: Sample, now_ns: int) -> bool:
        """With the gate held, which waiting gives up. Whether the bell is still to be rung."""
        ring, done = False, 0
        self._held = sample.rows
        while self._held:
            room = self._capacity - self._waiting
            if self._stopping.is_set():
                self._dropped += self._held
                self._held = 0
            elif room > 0:
                piece = sample.part(done, min(room, self._held))
                done, self._held = done + piece.rows, self._held - piece.rows
                ring = self._append(piece, now_ns) or ring
            else:
                if ring:  # the other side may sleep, and only it makes room
                    os.eventfd_write(self.bell_fd, 1)
                    ring = False
                self._room.wait()
        return ring

    def _append(self, sample: Sample, now_ns: int) -> bool:
        """Whether the bell is to be rung: once for those that were asked for."""
        self._queue.append((sample, now_ns))
        self._waiting += sample.rows
        if self._rung or self._waiting < self._ring_at:
            return False
        self._rung = True
        return True


def pause_s(failures: int, jitter: float) -> float:
    """How long to wait before opening a failed source again: doubling, capped, and up to half of it taken off by ``jitter`` in [0, 1)."""
    return float(min(FIRST_PAUSE_S * 2 ** min(failures - 1, 10), LONGEST_PAUSE_S) * (1 - jitter / 2))
