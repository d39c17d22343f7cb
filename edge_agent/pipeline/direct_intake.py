"""An intake without a thread, for sources that need none: what they give can wait where it is until the main thread asks for it.

Handing a sample from one thread to another costs two wake-ups, which is more processor time than a small model. A recording and a
generator know when their next sample is due; the broker's messages come through the main thread anyhow. A sensor on a wire is another
matter: its readings are lost when nobody reads them while a disk or a model takes its time.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.clock import Clock
from edge_agent.errors import SourceEnded
from edge_agent.pipeline.intake import Intake, Queued, Tell, pause_s
from edge_agent.ports import NEVER_NS, PacedSource, Source
from edge_agent.values import Sample

MOST_AT_ONCE = 4096
"""Samples read in one go before the pipeline looks after other things."""


class DirectIntake(Intake):
    """Reads what is due whenever it is asked for samples. Main thread of the pipeline only; not for the policy ``block``."""

    def __init__(
        self, source: PacedSource, capacity: int, clock: Clock, tell: Tell, jitter: Callable[[], float], policy: str = "drop_oldest"
    ) -> None:
        super().__init__(source, capacity, clock, tell, jitter, policy)
        self._paced = source
        self._opened = False
        self._failures = 0
        self._opened_ns = 0
        self._again_ns = 0

    def start(self) -> None:
        self._read_due()

    def stop(self, timeout_s: float = 1.0) -> None:
        self._stopping.set()
        self._source.close()

    def take(self) -> Queued | None:
        if not self._queue:
            self._read_due()
        return super().take()

    def take_all(self) -> list[Queued]:
        self._read_due()
        return super().take_all()

    def enough(self, rows: int) -> bool:
        self._read_due()
        return super().enough(rows)

    def wait_ms(self) -> float | None:
        """Until as many samples as :meth:`enough` asked for are due, or the source is to be opened again; None when nothing will come."""
        if self.ended or self._stopping.is_set():
            return None
        if not self._opened:
            due_ns = self._again_ns
        else:
            missing = self._ring_at - self._waiting - 1
            due_ns = self._paced.next_ns() + max(0, missing) * self._paced.period_ns
        return None if due_ns >= NEVER_NS else max(0.0, (due_ns - self._clock.monotonic_ns()) / 1e6)

    def _read_due(self) -> None:
        """Put what is due into the queue; opens the source when that is due."""
        now_ns = self._clock.monotonic_ns()
        if self.ended or self._stopping.is_set() or (not self._opened and now_ns < self._again_ns):
            return
        try:
            self._open_when_closed(now_ns)
            self._read_up_to(now_ns)
        except SourceEnded:
            self.ended = True
            self._source.close()
        except Exception as error:  # a driver's own error must not end the reading for ever
            self._fail(str(error) or type(error).__name__)

    def _open_when_closed(self, now_ns: int) -> None:
        if not self._opened:
            self._source.open()
            self._opened, self._opened_ns = True, now_ns

    def _read_up_to(self, now_ns: int) -> None:
        for _ in range(MOST_AT_ONCE):
            if self._paced.next_ns() > now_ns:
                break
            sample = self._source.read(0.0)
            self._tell_back()
            if sample is None:
                break
            self._put(sample)
        if self._source.garbage >= self._garbage_told:
            self._tell_garbage()

    def _fail(self, reason: str) -> None:
        self._source.close()
        now_ns = self._clock.monotonic_ns()
        self._failures = self._failures_after(self._failures, self._opened_ns if self._opened else now_ns)
        self._opened = False
        self._again_ns = now_ns + int(pause_s(self._failures, self._jitter()) * 1e9)
        self._say_lost(reason)

    def _put(self, sample: Sample) -> None:
        now_ns = self._clock.monotonic_ns()
        with self._gate:
            self._produced += sample.rows
            self._put_over_oldest(sample, min(now_ns, sample.t_ns + (sample.rows - 1) * sample.period_ns))


def open_intake(source: Source, capacity: int, clock: Clock, tell: Tell, jitter: Callable[[], float], policy: str) -> Intake:
    """The intake that fits ``source`` and ``policy``: without a thread where none is needed."""
    if policy != "block" and isinstance(source, PacedSource) and source.paced:
        return DirectIntake(source, capacity, clock, tell, jitter, policy)
    return Intake(source, capacity, clock, tell, jitter, policy)
