"""The sinks of a pipeline: every prediction to each, counted exactly; one that is slow or dead delays neither the model nor the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from edge_agent.clock import Clock
from edge_agent.pipeline.outlet_lane import DirectLane, QueueLane
from edge_agent.pipeline.outlet_news import SinkNews, Tell
from edge_agent.ports import BatchSink, Sink
from edge_agent.sinks.terms import SinkTerms
from edge_agent.values import Prediction, SinkCounts

CLOSE_S = 2.0
"""How long the sinks together may take for what still waits when the pipeline ends."""


def sink_names(pipeline: str, kinds: Sequence[str]) -> list[str]:
    """A name for each sink of ``pipeline``: ``line.mqtt``, and ``line.mqtt.2`` for a second one of its kind."""
    seen: Counter[str] = Counter()
    names = []
    for kind in kinds:
        seen[kind] += 1
        names.append(f"{pipeline}.{kind}" if seen[kind] == 1 else f"{pipeline}.{kind}.{seen[kind]}")
    return names


class Outlet:
    """``tell(kind, level, message)`` is an event of the pipeline, from any thread; ``jitter`` gives numbers in [0, 1).

    While a sink whose policy is to block keeps a prediction from being queued, ``meanwhile`` is called a few times a second on the
    thread that called :meth:`emit`; when it returns false the prediction is dropped for that sink.
    """

    def __init__(
        self, sinks: Sequence[tuple[Sink | BatchSink, SinkTerms]], tell: Tell, clock: Clock, jitter: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.meanwhile: Callable[[], bool] = lambda: True
        self._clock = clock
        self._lanes = {sink.name: _lane(sink, terms, SinkNews(sink.name, tell, clock), clock, jitter) for sink, terms in sinks}
        if len(self._lanes) != len(sinks):
            raise ValueError("two sinks have one name")
        blocking = {sink.name for sink, terms in sinks if terms.policy == "block" and not terms.direct}
        self._order = sorted(self._lanes.items(), key=lambda item: item[0] in blocking)  # the others first

    @property
    def last_error(self) -> str:
        """Of the first sink that does not work now; empty when all do."""
        return next((error for lane in self._lanes.values() if (error := lane.news.error)), "")

    def emit(self, prediction: Prediction) -> None:
        """To each sink; one that fails does not keep it from the others."""
        for _, lane in self._order:
            lane.put(prediction, self.meanwhile)

    def counts(self) -> Mapping[str, SinkCounts]:
        """By name of the sink, each from one moment."""
        return {name: lane.counts() for name, lane in self._lanes.items()}

    def flush(self) -> None:
        """Let sinks write what they hold, when there is something new."""
        for lane in self._lanes.values():
            lane.flush()

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Send what waits for at most ``timeout_s``, drop and count the rest, close every sink."""
        ends_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        for lane in self._lanes.values():
            lane.finish()
        for lane in self._lanes.values():
            lane.close(max(0.0, (ends_ns - self._clock.monotonic_ns()) / 1e9))


def _lane(sink: Sink | BatchSink, terms: SinkTerms, news: SinkNews, clock: Clock, jitter: Callable[[], float]) -> DirectLane | QueueLane:
    if terms.direct and not isinstance(sink, BatchSink):
        return DirectLane(sink, news)
    return QueueLane(sink, terms, news, clock, jitter)
