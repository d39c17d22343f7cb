"""Where the local socket is, and how to bind and reach it when its path is longer than a socket address may be.

A unix socket address holds 107 bytes (unix(7)). The folder is opened first and named through ``/proc/self/fd``, so the
length of the folder's own path does not matter.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

SOCKET_NAME = "agent.sock"
MAX_LINE_BYTES = 1 << 20


def socket_path(runtime_dir: Path) -> Path:
    """The socket of the agent whose runtime folder this is."""
    return runtime_dir / SOCKET_NAME


def bind_listener(path: Path, *, mode: int = 0o660) -> socket.socket:
    """A listening stream socket at ``path``; a stale one left by a dead agent is replaced. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        path.unlink(missing_ok=True)
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        path.chmod(mode)
        listener.listen(16)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(folder)
    return listener


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
