"""A program that takes lines on its standard input: started without a shell, in a process group of its own, bounded in time and output."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
from collections.abc import Callable, Sequence

from edge_agent.clock import Clock

TAIL_BYTES = 2048
_PR_SET_PDEATHSIG = 1
_READ_BYTES = 65_536
_TERM_GRACE_S = 0.5


class Program:
    """A running program. One thread at a time, but for :meth:`kill`."""

    def __init__(self, command: Sequence[str], clock: Clock) -> None:
        """Raises OSError when it cannot be started."""
        self._clock = clock
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
            cwd="/",
            start_new_session=True,
            preexec_fn=_child_of(ctypes.CDLL(None)),
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input, self._output = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._ended = os.pidfd_open(self._process.pid)
        os.set_blocking(self._input, False)
        os.set_blocking(self._output, False)
        self._tail = b""
        self._input_open = self._output_open = True

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def last_words(self) -> str:
        """The last line of what it printed."""
        lines = self._tail.decode(errors="replace").split("\n")
        return next((text[-200:] for line in reversed(lines) if (text := line.strip())), "")

    def write(self, data: bytes, timeout_s: float) -> None:
        """All of ``data`` into its input. Raises TimeoutError when it does not read in time, BrokenPipeError when it reads no more."""
        ends_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while data:
            if not self._wait(self._input, select.POLLOUT, ends_ns):
                raise TimeoutError(f"took not all of a line in {timeout_s:g} s")
            try:
                data = data[os.write(self._input, data) :]
            except BlockingIOError:
                continue

    def end_input(self) -> None:
        if self._input_open:
            self._input_open = False
            assert self._process.stdin is not None
            self._process.stdin.close()

    def wait(self, timeout_s: float) -> bool:
        """Whether it ended by itself within ``timeout_s``."""
        ends_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        ended = self._wait(self._ended, select.POLLIN, ends_ns)
        self._read()
        return ended

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal the whole group; from any thread."""
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def end(self, grace_s: float) -> None:
        """Let it end within ``grace_s`` of the end of its input, then make it, and whatever it left in its group."""
        self.end_input()
        if not self.wait(grace_s):
            self.kill(signal.SIGTERM)
            self.wait(_TERM_GRACE_S)
        self.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        os.close(self._ended)

    def _wait(self, handle: int, event: int, ends_ns: int) -> bool:
        """Until ``handle`` is ready, reading what is printed meanwhile, so that no program is stuck on what nobody reads."""
        while True:
            poll = select.poll()
            poll.register(handle, event)
            if self._output_open:
                poll.register(self._output, select.POLLIN)
            left_ms = (ends_ns - self._clock.monotonic_ns()) / 1e6
            ready = dict(poll.poll(max(0.0, left_ms)))
            if self._output in ready:
                self._read()
            if handle in ready:
                return True
            if left_ms <= 0:
                return False

    def _read(self) -> None:
        """What it has printed, of which the end is kept. At most one buffer, lest a flood keep this from its own work."""
        try:
            chunk = os.read(self._output, _READ_BYTES) if self._output_open else b""
        except BlockingIOError:
            return
        if not chunk:
            self._output_open = False
        self._tail = (self._tail + chunk)[-TAIL_BYTES:]


def _child_of(libc: ctypes.CDLL) -> Callable[[], None]:
    """What the child does before it becomes the program: take the signals that a pipeline ignores, and die with the pipeline, so that a
    pipeline killed by SIGKILL leaves nothing behind."""
    parent, prctl = os.getpid(), libc.prctl

    def begin() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(127)

    return begin
