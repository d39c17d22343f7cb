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
        self._broken: set[str] = set()
        self._unflushed = False
        self.last_error = ""

    def emit(self, prediction: Prediction) -> None:
        """To each sink; one that fails does not keep it from the others."""
        self._unflushed = True
        for sink in self._sinks:
            self._guard(sink, lambda sink=sink: sink.emit(prediction))  # type: ignore[misc]

    def flush(self) -> None:
        """Let sinks write what they hold, when there is something new."""
        if self._unflushed:
            self._unflushed = False
            for sink in self._sinks:
                self._guard(sink, sink.flush)

    def close(self) -> None:
        for sink in self._sinks:
            self._guard(sink, sink.close)

    def _guard(self, sink: Sink, act: Callable[[], None]) -> None:
        try:
            act()
        except SinkError as error:
            self.last_error = f"sink {sink.name}: {error}"
            if sink.name not in self._broken:
                self._broken.add(sink.name)
                self._tell("sink_lost", "warning", self.last_error)
        else:
            if sink.name in self._broken:
                self._broken.discard(sink.name)
                self._tell("sink_back", "info", f"sink {sink.name} takes predictions again")
