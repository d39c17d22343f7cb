"""Exit statuses, and how progress is told."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

EXIT_OK, EXIT_FAILED, EXIT_INPUT, EXIT_REFUSED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

Command = Callable[[argparse.Namespace], int]
Tell = Callable[[str], None]


def teller(options: argparse.Namespace) -> Tell:
    """Who hears what is being done: people at a terminal, nobody under ``--quiet`` or ``--json``."""
    return _quiet if options.quiet or options.json else _progress


def _progress(text: str) -> None:
    print(f"edge-convert: {text}", file=sys.stderr, flush=True)


def _quiet(text: str) -> None:
    pass
