"""The sensor on the wire: numbers its readings, sends each once, and knows which it has sent over which connection."""

from __future__ import annotations

import socket
import threading
import time
from bisect import bisect_right
from pathlib import Path

from benchmarks.inference.soaking.house import RATE_HZ
from benchmarks.inference.soaking.numbered import reading

AGAIN_S = 0.05


class Feed(threading.Thread):
    """Reading n is sent at the n-th hundredth of a second that the wire is plugged in; what could not be sent is sent later."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="feed", daemon=True)
        self.sent = 0
        self.stalled = 0
        self.firsts: list[int] = []
        """The number each connection began with."""
        self._path = path
        self._plugged = threading.Event()
        self._plugged.set()
        self._halt = threading.Event()
        self._socket: socket.socket | None = None

    def unplug(self) -> None:
        self._plugged.clear()

    def plug(self) -> None:
        self._plugged.set()

    @property
    def plugged(self) -> bool:
        return self._plugged.is_set()

    def halt(self) -> None:
        """Send no more; what was sent stays sent."""
        self._halt.set()
        self.join(10.0)

    def connection_of(self, number: int) -> int:
        """Over which connection it went."""
        return bisect_right(self.firsts, number)

    def run(self) -> None:
        due_s = time.monotonic()
        while not self._halt.is_set():
            if not self._plugged.is_set():
                self._hang_up()
                self._plugged.wait(0.1)
                due_s = time.monotonic()
                continue
            due_s = max(due_s + 1 / RATE_HZ, time.monotonic() - 1.0)
            self._halt.wait(max(0.0, due_s - time.monotonic()))
            if not self._send():
                self._halt.wait(AGAIN_S)
                due_s = time.monotonic()
        # The connection stays until the end: what it holds may still be read.

    def _send(self) -> bool:
        try:
            if self._socket is None:
                self._connect()
            assert self._socket is not None
            self._socket.sendall((",".join(map(str, reading(self.sent))) + f",{self.sent}\n").encode())
        except OSError:
            self.stalled += 1
            self._hang_up()
            return False
        self.sent += 1
        return True

    def _connect(self) -> None:
        fresh = socket.socket(socket.AF_UNIX)
        fresh.settimeout(2.0)
        try:
            fresh.connect(str(self._path))
        except OSError:
            fresh.close()
            raise
        fresh.settimeout(20.0)
        self._socket = fresh
        self.firsts.append(self.sent)

    def _hang_up(self) -> None:
        gone, self._socket = self._socket, None
        if gone is not None:
            gone.close()
