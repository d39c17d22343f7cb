"""One agent on one folder: an advisory lock that the kernel gives back when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.errors import ConfigError, Problem, StoreError


@contextmanager
def state_lock(folder: Path, key: str = "device.state_dir") -> Iterator[None]:
    """Hold ``folder``, made when it is missing, for the time of the block; ``key`` is what the configuration calls it.

    Two agents on one folder would clear each other's transfers away and take each other's socket. The folder itself is locked, not a file
    in it: an agent must start, and be alone, on a disk that is full or can only be read. Raises ConfigError when the folder cannot be
    made, :class:`StoreError` when another agent has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError([Problem(key, f"{error.filename}: {error.strerror}")]) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"{folder}: another edge-agent runs on it; stop that one, or give this one a {key} of its own") from None
        except OSError:
            pass  # a file system that knows no locks must not keep a device from serving
        yield
    finally:
        os.close(handle)
