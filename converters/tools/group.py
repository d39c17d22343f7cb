"""A subprocess that takes all it started with it when it is over, however that comes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def ended_group(command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """``command`` running in a process group of its own, its output and errors in one pipe; the group is killed on the way out."""
    child = subprocess.Popen(
        list(command),
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            kill_group(child)
            child.wait()
        if child.stdout is not None:
            child.stdout.close()


def lines_of(child: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """What ``child`` says, line by line, or in pieces of 4 KiB where it says nothing but one long line."""
    stdout = child.stdout
    if stdout is not None:
        yield from iter(lambda: stdout.readline(4096), b"")


def ended(child: subprocess.Popen[bytes]) -> int:
    """Waits for ``child``, ends what it left running, and gives its status (negative: the signal that ended it)."""
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # not reaped yet: nobody else can have its number
    kill_group(child)
    return child.wait()


def kill_group(child: subprocess.Popen[bytes]) -> None:
    """Ends every process of the group of a child that has not been waited for."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
