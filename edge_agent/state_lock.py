"""One agent on one state folder: an advisory lock that the kernel gives back when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.errors import ConfigError, Problem, StoreError

LOCK_NAME = "agent.lock"


@contextmanager
def state_lock(folder: Path) -> Iterator[None]:
    """Hold ``folder``, made when it is missing, for the time of the block.

    Two agents on one folder would clear each other's transfers away and take each other's socket. Raises ConfigError when the folder
    cannot be written, :class:`StoreError` when another agent has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise ConfigError([Problem("device.state_dir", f"{error.filename}: {error.strerror}")]) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            what = "another edge-agent runs on it" if isinstance(error, BlockingIOError) else f"cannot be locked ({error.strerror})"
            raise StoreError(f"{folder}: {what}; stop that one, or give this one a device.state_dir of its own") from None
        yield
    finally:
        os.close(handle)
