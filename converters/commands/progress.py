"""What is being done, told on standard error: a line a step, and at a terminal a bar for steps of many parts."""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading

from converters.translate import Tell

_WIDTH = 24


def teller(options: argparse.Namespace) -> Tell:
    """Who hears what is being done: people, nobody under ``--quiet`` or ``--json``."""
    return _quiet if options.quiet or options.json else Progress(bars=sys.stderr.isatty())


class Progress:
    """Tells steps; ``part`` (0 to 1) moves the bar of the last one. May be called from several threads."""

    def __init__(self, *, bars: bool) -> None:
        self._bars = bars
        self._step = ""
        self._open = False
        self._lock = threading.Lock()

    def __call__(self, text: str, part: float | None = None) -> None:
        with self._lock, contextlib.suppress(OSError):  # nobody who listens is no reason to fail
            if part is None:
                self._end()
                self._step = text
                print(f"edge-convert: {text}", file=sys.stderr, flush=True)
            elif self._bars:
                self._bar(text, part)

    def _bar(self, text: str, part: float) -> None:
        full = round(_WIDTH * min(max(part, 0.0), 1.0))
        line = f"  [{'█' * full}{'·' * (_WIDTH - full)}] {100 * part:3.0f} % {text[:40]:40}"
        print(f"\r{line}", end="", file=sys.stderr, flush=True)
        self._open = True
        if part >= 1:
            self._end()

    def _end(self) -> None:
        """Takes the bar away: the next line stands where it was."""
        if self._open:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._open = False


def _quiet(text: str, part: float | None = None) -> None:
    pass
