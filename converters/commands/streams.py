"""What the command prints to, whatever it was started with."""

from __future__ import annotations

import io
import os
import sys


def settle_streams() -> None:
    """Standard streams that were closed lead nowhere, before a socket of ours takes their number; and what a terminal's encoding cannot
    show is escaped instead of ending the command after its work is done."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    # Python has set a stream to None where the number was closed.
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - a number, kept for as long as the process lives
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
