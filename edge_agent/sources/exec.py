"""A program that prints readings: a vendor's tool, a script, a bus reader. Started again, with growing pauses, when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import SourceEnded, SourceError
from edge_agent.sources.child import Child
from edge_agent.sources.decoder import Decoder, choose_decoder, next_sample
from edge_agent.values import Sample


def open_source(name: str, options: Mapping[str, Any], inbox: object = None, *, clock: Clock | None = None) -> ExecSource:
    """As the checked ``options`` say: command (a list: the program and its arguments), environment, restart (true), and how its output is
    framed: see :func:`~edge_agent.sources.decoder.choose_decoder`."""
    clock = clock or SystemClock()
    return ExecSource(name, options, choose_decoder(name, options, clock), clock)


class ExecSource:
    """Reads the standard output of a program. No shell is involved. Its environment is PATH, LANG and what ``environment`` adds; its folder
    is ``/``; its standard input is empty. The last of its standard error is told when it ends."""

    def __init__(self, name: str, options: Mapping[str, Any], decoder: Decoder, clock: Clock) -> None:
        self.name = name
        self._command = [str(word) for word in options["command"]]
        self._environment: Mapping[str, str] = dict(options.get("environment", {}))
        self._restart = bool(options.get("restart", True))
        self._decoder, self._clock = decoder, clock
        self._child: Child | None = None

    @property
    def garbage(self) -> int:
        return self._decoder.garbage

    @property
    def pid(self) -> int:
        """Of the program, which leads its process group; 0 when it does not run."""
        return self._child.pid if self._child is not None else 0

    def open(self) -> None:
        self.close()
        try:
            self._child = Child(self._command, self._environment)
        except (OSError, ValueError) as error:
            raise SourceError(f"source {self.name}: {self._command[0]} cannot be started ({error})") from error
        self._decoder.reset()

    def read(self, timeout_s: float) -> Sample | None:
        if self._child is None:
            raise SourceError(f"source {self.name}: {self._command[0]} does not run")
        child = self._child
        try:
            return next_sample(self._decoder, child.receive, self._clock, timeout_s)
        except SourceError as error:
            status = child.stop()
            self._child = None
            if status == 0 and not self._restart:
                raise SourceEnded(f"source {self.name}: {self._command[0]} came to its end") from None
            raise SourceError(f"source {self.name}: {self._command[0]} {error}") from None

    def close(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.stop()
