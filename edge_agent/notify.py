"""Telling the service manager how we are: sd_notify(3) and sd_watchdog_enabled(3) in plain Python.

One datagram of ``KEY=value`` lines goes to the socket that ``NOTIFY_SOCKET`` names. Without that variable everything here
does nothing, so that the agent runs the same from a shell.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

_MAX_STATUS = 512


class Notifier:
    """The line to the service manager. Safe from any thread: every message is one datagram."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._watchdog_s = watchdog_interval_s(environment)

    @property
    def active(self) -> bool:
        """Whether anyone listens."""
        return bool(self._address)

    def watchdog_interval_s(self) -> float | None:
        """How long the manager waits for :meth:`watchdog` before it kills us; None when it does not wait."""
        return self._watchdog_s

    def ready(self, status: str = "") -> bool:
        """Start-up is complete."""
        return self._send("READY=1", status)

    def status(self, text: str) -> bool:
        """One line for ``systemctl status``."""
        return self._send("", text)

    def watchdog(self) -> bool:
        """A sign of life; send it at half of the interval, and only while work makes progress."""
        return self._send("WATCHDOG=1")

    def extend_timeout(self, seconds: float) -> bool:
        """Start or stop may take ``seconds`` longer, counted from now."""
        return self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def stopping(self, status: str = "") -> bool:
        """The orderly end begins."""
        return self._send("STOPPING=1", status)

    def _send(self, line: str, status: str = "") -> bool:
        """Whether the datagram was taken. A manager that is away or slow must never stop the agent, so errors are only an answer."""
        if not self._address:
            return False
        lines = [line] if line else []
        if status:
            lines.append("STATUS=" + status.replace("\n", " ")[:_MAX_STATUS])
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
                link.setblocking(False)
                link.connect(self._address)
                link.sendall("\n".join(lines).encode())
        except OSError:
            return False
        return True


def watchdog_interval_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """Seconds between signs of life that the manager demands of this process; None when it demands none.

    ``WATCHDOG_PID`` names the process that is meant: a child that inherited the variables must not feel addressed.
    """
    interval_us = environment.get("WATCHDOG_USEC", "")
    pid = environment.get("WATCHDOG_PID", "")
    if not interval_us.isascii() or not interval_us.isdigit() or int(interval_us) == 0:
        return None
    if pid and pid != str(os.getpid()):
        return None
    return int(interval_us) / 1e6


def _address(text: str) -> str:
    """The socket address in Python's spelling: ``@name`` is the abstract name, ``/path`` a file; anything else is not supported."""
    if text.startswith("@") and len(text) > 1:
        return "\0" + text[1:]
    return text if text.startswith("/") else ""
