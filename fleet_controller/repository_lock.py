"""One writer at a time: an advisory lock on a file of the repository, given back by the kernel when its holder dies."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.clock import Clock, monotonic_s
from edge_agent.update.durable import store_error
from fleet_controller.errors import RepositoryError

LOCK_NAME = ".lock"
_POLL_S = 0.05


@contextmanager
def repository_lock(repo: Path, clock: Clock, *, patience_s: float = 10.0) -> Iterator[None]:
    """Hold the lock of ``repo``. Raises :class:`RepositoryError` when another process keeps it longer than ``patience_s``."""
    path = repo / LOCK_NAME
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise store_error(error, path, "lock") from error
    try:
        _acquire(handle, path, clock, patience_s)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int, path: Path, clock: Clock, patience_s: float) -> None:
    deadline_s = monotonic_s(clock) + patience_s
    pause = threading.Event()
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic_s(clock) >= deadline_s:
                raise RepositoryError(f"{path}: another edge-fleet is writing this repository; try again when it has ended") from None
        pause.wait(_POLL_S)
