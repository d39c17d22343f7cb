"""Predictions to a program: one JSON line each on the standard input of one that runs on, or of one that is started for each."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from typing import Any

from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import SinkError, SinkRefused
from edge_agent.sinks.lines import json_line
from edge_agent.sinks.program import Program
from edge_agent.values import Prediction

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_SETTLED_NS = 30_000_000_000
"""A program that ran so long before it ended is started again as soon as one that never failed."""
_GRACE_S = 1.0


def open_sink(name: str, options: Mapping[str, Any], publish: object = None, *, clock: Clock | None = None) -> FedProgram | EachProgram:
    """A program as the checked ``options`` say: command (a list of words), each (false), timeout_s (5)."""
    command = tuple(str(word) for word in options["command"])
    kind = EachProgram if options.get("each", False) else FedProgram
    return kind(name, command, float(options.get("timeout_s", 5.0)), clock or SystemClock())


class FedProgram:
    """A program that runs on and is fed. One that ends is started again, after pauses that double while it does not last; one that does
    not read a line within ``timeout_s`` is killed with its process group. A line that was written counts as emitted."""

    def __init__(self, name: str, command: tuple[str, ...], timeout_s: float, clock: Clock) -> None:
        self.name = name
        self._command, self._timeout_s, self._clock = command, timeout_s, clock
        self._program: Program | None = None
        self._gate = threading.Lock()
        self._started_ns = 0
        self._deaths = 0
        self._closed = False

    def emit(self, prediction: Prediction) -> None:
        line = json_line(prediction)
        with self._gate:
            if self._closed:
                raise SinkError(f"sink {self.name}: is closed")
            program = self._program or self._start()
            if program.status is not None:
                raise self._ended(program, _how(program.status))
            try:
                program.write(line, self._timeout_s)
            except TimeoutError as error:
                program.kill()
                raise self._ended(program, str(error)) from error
            except OSError as error:
                program.wait(_GRACE_S)
                raise self._ended(program, "reads no more" if program.status is None else _how(program.status)) from error

    def flush(self) -> None:
        """Lines go out one by one."""

    def close(self) -> None:
        """The end of its input, a moment to finish, and then the end of its group. From any thread."""
        self._closed = True
        if not self._gate.acquire(timeout=_GRACE_S):
            program = self._program  # a write is stuck in it: that ends with the program
            if program is not None:
                program.kill()
            self._gate.acquire()
        try:
            program, self._program = self._program, None
            if program is not None:
                program.end(_GRACE_S)
        finally:
            self._gate.release()

    def _start(self) -> Program:
        try:
            self._program = Program(self._command, self._clock)
        except OSError as error:
            self._deaths += 1
            raise SinkError(
                f"sink {self.name}: {self._command[0]} cannot be started ({error.strerror})", pause_s=self._pause_s()
            ) from error
        self._started_ns = self._clock.monotonic_ns()
        return self._program

    def _ended(self, program: Program, how: str) -> SinkError:
        self._program = None
        program.end(0.0)
        lasted = self._clock.monotonic_ns() - self._started_ns >= _SETTLED_NS
        self._deaths = 1 if lasted else self._deaths + 1
        said = program.last_words
        return SinkError(f"sink {self.name}: {self._command[0]} {how}{f': {said}' if said else ''}", pause_s=self._pause_s())

    def _pause_s(self) -> float:
        return min(_FIRST_PAUSE_S * float(2 ** min(self._deaths - 1, 10)), _LONGEST_PAUSE_S)


class EachProgram:
    """A program started for each prediction, one at a time; the prediction is emitted when it ends with status 0 within ``timeout_s``.
    One that fails or takes longer has refused it; its process group is killed in any case."""

    def __init__(self, name: str, command: tuple[str, ...], timeout_s: float, clock: Clock) -> None:
        self.name = name
        self._command, self._timeout_s, self._clock = command, timeout_s, clock
        self._program: Program | None = None
        self._closed = False

    def emit(self, prediction: Prediction) -> None:
        if self._closed:
            raise SinkError(f"sink {self.name}: is closed")
        line = json_line(prediction)
        ends_ns = self._clock.monotonic_ns() + int(self._timeout_s * 1e9)
        try:
            self._program = program = Program(self._command, self._clock)
        except OSError as error:
            raise SinkError(f"sink {self.name}: {self._command[0]} cannot be started ({error.strerror})") from error
        if self._closed:  # while it was started: whoever closed could not end it yet
            program.kill()
        try:
            how = self._run(program, line, ends_ns)
        finally:
            self._program = None
            program.end(0.0)
        if how:
            said = program.last_words
            raise SinkRefused(f"sink {self.name}: {self._command[0]} {how}{f': {said}' if said else ''}")

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Ends a program that still runs for another thread, and none is started any more."""
        self._closed = True
        program = self._program
        if program is not None:
            program.kill()

    def _run(self, program: Program, line: bytes, ends_ns: int) -> str:
        """What went wrong; empty when nothing did."""
        try:
            program.write(line, self._timeout_s)
        except BrokenPipeError:
            pass  # it does not care for its input; its status tells
        except TimeoutError as error:
            return str(error)
        program.end_input()
        if not program.wait(max(0.0, (ends_ns - self._clock.monotonic_ns()) / 1e9)):
            program.kill()
            return f"did not end within {self._timeout_s:g} s"
        return _how(program.status) if program.status else ""


def _how(status: int | None) -> str:
    if status is not None and status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"
