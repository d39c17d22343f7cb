"""The sinks of a pipeline: every prediction to each; a sink that fails is told once, and once when it works again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_agent.errors import SinkError
from edge_agent.ports import Sink
from edge_agent.values import Prediction


class Outlet:
    """``tell(kind, level, message)`` is an event of the pipeline."""

    def __init__(self, sinks: Sequence[Sink], tell: Callable[[str, str, str], None]) -> None:
        self._sinks = tuple(sinks)
        self._tell = tell
        self._broken: set[int] = set()
        self._unflushed = False
        self.last_error = ""

    def emit(self, prediction: Prediction) -> None:
        """To each sink; one that fails does not keep it from the others."""
        self._unflushed = True
        for sink in self._sinks:
            try:
                sink.emit(prediction)
            except SinkError as error:
                self._lost(sink, error)
            else:
                self._works(sink)

    def flush(self) -> None:
        """Let sinks write what they hold, when there is something new."""
        if self._unflushed:
            self._unflushed = False
            self._each(lambda sink: sink.flush())

    def close(self) -> None:
        self._each(lambda sink: sink.close())

    def _each(self, act: Callable[[Sink], None]) -> None:
        for sink in self._sinks:
            try:
                act(sink)
            except SinkError as error:
                self._lost(sink, error)

    def _lost(self, sink: Sink, error: SinkError) -> None:
        self.last_error = str(error)
        if id(sink) not in self._broken:
            self._broken.add(id(sink))
            self._tell("sink_lost", "warning", self.last_error)

    def _works(self, sink: Sink) -> None:
        if id(sink) in self._broken:
            self._broken.discard(id(sink))
            self.last_error = ""
            self._tell("sink_back", "info", f"sink {sink.name} takes predictions again")
