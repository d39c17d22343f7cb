"""The way to one sink: straight, where the prediction is made, or over a queue and a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from edge_agent.clock import Clock
from edge_agent.errors import SinkError
from edge_agent.pipeline.outlet_news import SinkNews
from edge_agent.pipeline.outlet_queue import SinkQueue
from edge_agent.ports import BatchSink, Sink
from edge_agent.sinks.terms import SinkTerms
from edge_agent.values import Delivery, Prediction, SinkCounts

FLUSH_EVERY_NS = 250_000_000
FIRST_PAUSE_S = 0.1
_BLOCKED_S = 0.1


class DirectLane:
    """Calls the sink at once, on the caller's thread. A prediction that is not taken has failed."""

    def __init__(self, sink: Sink, news: SinkNews) -> None:
        self.news = news
        self._sink = sink
        self._given = self._emitted = 0
        self._unflushed = False

    def put(self, prediction: Prediction, meanwhile: Callable[[], bool]) -> None:
        self._given += 1
        self._unflushed = True
        try:
            self._sink.emit(prediction)
        except Exception as error:  # a driver's own error must not end the pipeline
            self.news.lost(error)
        else:
            self._emitted += 1
            self.news.works()

    def flush(self) -> None:
        if self._unflushed:
            try:
                self._sink.flush()
            except Exception as error:
                self.news.lost(error)
            self._unflushed = _has_backlog(self._sink)

    def finish(self) -> None:
        """Nothing waits here."""

    def close(self, timeout_s: float) -> None:
        try:
            self._sink.close()
        except Exception as error:
            self.news.lost(error)

    def counts(self) -> SinkCounts:
        return SinkCounts(self._given, self._emitted, 0, self._given - self._emitted, 0)


class QueueLane:
    """A thread takes predictions from the queue and gives them to the sink; what the sink does not take now is tried again, after
    pauses that double, until it is too old. The thread begins with the first prediction."""

    def __init__(self, sink: Sink | BatchSink, terms: SinkTerms, news: SinkNews, clock: Clock, jitter: Callable[[], float]) -> None:
        self.news = news
        self._sink = sink
        self._send, self._delivery = _way_into(sink)
        self._clock, self._jitter = clock, jitter
        self._queue = SinkQueue(terms.queue, terms.policy, int(terms.max_age_s * 1e9))
        self._batch = 1 if terms.policy == "latest_only" else min(self._delivery.batch, terms.queue)
        self._changed = threading.Condition()
        self._finishing = False
        self._failures = 0
        self._not_before_ns = 0
        self._flush_ns: int | None = None
        self._thread = threading.Thread(target=self._run, name=f"sink-{sink.name}"[:15], daemon=True)

    def put(self, prediction: Prediction, meanwhile: Callable[[], bool]) -> None:
        """Queue it. Where the policy is to block: wait for room, as long as ``meanwhile()`` says that waiting is right."""
        with self._changed:
            if not self._thread.ident:
                self._thread.start()
            while not self._queue.offer(prediction, self._clock.monotonic_ns()):
                self._changed.wait(_BLOCKED_S)
                if not meanwhile():
                    self._queue.turn_away()
                    return
            if len(self._queue) in (1, self._batch):
                self._changed.notify_all()

    def flush(self) -> None:
        """The thread sees to that."""

    def finish(self) -> None:
        """Send what waits without waiting for more, then end."""
        with self._changed:
            self._finishing = True
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """After :meth:`finish`: wait at most ``timeout_s`` for the rest to be sent, drop what is left, close the sink."""
        if self._thread.ident:
            self._thread.join(timeout_s)
        with self._changed:
            self._queue.end()
            self._changed.notify_all()
        if self._thread.is_alive() or not self._thread.ident:
            self._close_sink()

    def counts(self) -> SinkCounts:
        with self._changed:
            return self._queue.counts()

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            if batch:
                self._deliver(batch)
            else:
                self._flush()
        self._close_sink()  # here, because a program dies with the thread that started it

    def _next(self) -> list[Prediction] | None:
        """What to send now; nothing when a flush is due; None when it is over."""
        with self._changed:
            while True:
                now_ns = self._clock.monotonic_ns()
                waiting = len(self._queue)
                if self._finishing and not waiting:
                    return None
                due_ns = self._due_ns() if waiting else None
                if due_ns is not None and due_ns <= now_ns:
                    batch = self._queue.take(self._batch, now_ns)
                    self._changed.notify_all()  # there is room again
                    if batch:
                        return batch
                    continue
                if self._flush_ns is not None and self._flush_ns <= now_ns:
                    return []
                moments = [moment for moment in (due_ns, self._flush_ns) if moment is not None]
                self._changed.wait((min(moments) - now_ns) / 1e9 if moments else None)

    def _due_ns(self) -> int:
        """When what waits is to be sent: when it is a full batch, or has waited long enough, and not in a pause after a failure."""
        if self._finishing:
            return 0
        full = len(self._queue) >= self._batch
        ripe_ns = 0 if full else self._queue.oldest_ns + int(self._delivery.every_s * 1e9)
        return max(ripe_ns, self._not_before_ns)

    def _deliver(self, batch: Sequence[Prediction]) -> None:
        try:
            self._send(batch)
        except Exception as error:  # a driver's own error too: it must not end the thread
            if isinstance(error, SinkError) and error.retryable:
                self._try_later(error)
            else:
                with self._changed:
                    self._queue.failed()
            self.news.lost(error)
        else:
            self._failures = 0
            with self._changed:
                self._queue.emitted()
            self.news.works()
        if self._flush_ns is None:
            self._flush_ns = self._clock.monotonic_ns() + FLUSH_EVERY_NS

    def _try_later(self, error: SinkError) -> None:
        self._failures += 1
        self._not_before_ns = self._clock.monotonic_ns() + int(max(error.pause_s, self._pause_s()) * 1e9)
        with self._changed:
            if self._finishing and self._failures > 1:  # not the moment to wait for a sink that is away
                self._queue.end()
            else:
                self._queue.put_back()

    def _pause_s(self) -> float:
        """Doubling, capped, and up to half of it taken off at random, so that a fleet does not come back in step."""
        doubled_s = FIRST_PAUSE_S * float(2 ** min(self._failures - 1, 10))
        return min(doubled_s, self._delivery.longest_pause_s) * (1 - self._jitter() / 2)

    def _close_sink(self) -> None:
        try:
            self._sink.close()
        except Exception as error:
            self.news.lost(error)

    def _flush(self) -> None:
        try:
            self._sink.flush()
        except Exception as error:
            self.news.lost(error)
        self._flush_ns = self._clock.monotonic_ns() + FLUSH_EVERY_NS if _has_backlog(self._sink) else None


def _way_into(sink: Sink | BatchSink) -> tuple[Callable[[Sequence[Prediction]], None], Delivery]:
    """How to call it, and how it wants to be called."""
    if isinstance(sink, BatchSink):
        return sink.emit_all, sink.delivery
    emit = sink.emit
    return (lambda batch: emit(batch[0])), Delivery()


def _has_backlog(sink: Sink | BatchSink) -> bool:
    return bool(getattr(sink, "backlog", False))
