"""Where the local socket is, and how to bind and reach it when its path is longer than a socket address may be.

A unix socket address holds 107 bytes (unix(7)). The folder is opened first and named through ``/proc/self/fd``, so the
length of the folder's own path does not matter.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
from pathlib import Path

SOCKET_NAME = "agent.sock"
MAX_LINE_BYTES = 1 << 20
_TRIES, _AGAIN_S = 20, 0.05
"""Processes of an agent that was killed hold its sockets for a moment longer."""


def socket_path(runtime_dir: Path) -> Path:
    """The socket of the agent whose runtime folder this is."""
    return runtime_dir / SOCKET_NAME


def bind_listener(path: Path, *, mode: int = 0o660) -> socket.socket:
    """A listening stream socket at ``path``; a stale one left by a dead agent is replaced. Raises OSError, also for anything else there."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _make_way(path)
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        path.chmod(mode)
        listener.listen(16)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(folder)
    return listener


def _make_way(path: Path) -> None:
    """Remove a socket that nobody listens at. Raises OSError for one that is in use and for what is no socket."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, "a file that is no socket is here")
    for _ in range(_TRIES):
        if not _heard(path):
            path.unlink(missing_ok=True)
            return
        threading.Event().wait(_AGAIN_S)
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _heard(path: Path) -> bool:
    """Whether somebody listens at the socket ``path``."""
    try:
        connect(path, timeout_s=0.5).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except TimeoutError:  # it is there, and busy
        return True
    return True


def connect(path: Path, *, timeout_s: float) -> socket.socket:
    """A connection to the agent at ``path``. Raises OSError."""
    conn = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    conn.settimeout(timeout_s)
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            conn.connect(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)
    except OSError:
        conn.close()
        raise
    return conn
