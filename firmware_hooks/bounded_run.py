"""One program run to its end: bounded in time and output, in a process group of its own, without a shell."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_TERM_GRACE_S = 2.0
_READS_AFTER_END = 64


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended. ``code``: exit status, negative for a signal. ``output``: the end of what it printed."""

    code: int
    output: str
    timed_out: bool


def run_bounded(
    command: Sequence[str], environment: Mapping[str, str], *, timeout_s: float, max_output_bytes: int, with_stderr: bool = True
) -> Ran:
    """Run ``command``; at ``timeout_s`` its group gets SIGTERM, then SIGKILL, and what it leaves behind is killed in any case.

    Raises OSError when it cannot be started.
    """
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if with_stderr else subprocess.DEVNULL,
        env=dict(environment),
        cwd="/",
        start_new_session=True,
    )
    with process, _Tail(process, max_output_bytes) as tail:
        timed_out = _wait(process, timeout_s)
        _signal_group(process, signal.SIGKILL)
    return Ran(process.returncode, tail.text(), timed_out)


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> bool:
    """Wait for the end; at the timeout ask the group to end, then make it. Whether the timeout was reached."""
    try:
        process.wait(timeout_s)
        return False
    except subprocess.TimeoutExpired:
        _signal_group(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_TERM_GRACE_S)
    _signal_group(process, signal.SIGKILL)
    process.wait()
    return True


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


class _Tail:
    """Reads a process's output on a thread of its own and keeps the last bytes of it, however much there is.

    Leaving the context ends the reading even if a process that left the group still holds the other end of the pipe.
    """

    def __init__(self, process: subprocess.Popen[bytes], max_bytes: int) -> None:
        assert process.stdout is not None
        self._output = process.stdout.fileno()
        self._kept = bytearray()
        self._dropped = False
        self._max_bytes = max_bytes
        self._end_read, self._end_write = os.pipe()
        self._thread = threading.Thread(target=self._collect, name="hook-output", daemon=True)

    def __enter__(self) -> _Tail:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._end_write, b"x")
        self._thread.join()
        os.close(self._end_read)
        os.close(self._end_write)

    def text(self) -> str:
        """What was kept, as text; begins with a sign when something was left out."""
        text = self._kept.decode(errors="replace")
        return "[...]" + text if self._dropped else text

    def _collect(self) -> None:
        poll = select.poll()
        poll.register(self._output, select.POLLIN)
        poll.register(self._end_read, select.POLLIN)
        reads_left = _READS_AFTER_END
        while reads_left:
            ready = {fd for fd, _ in poll.poll()}
            if self._end_read in ready:
                reads_left -= 1
                if self._output not in ready:
                    return
            if self._output in ready and not self._take():
                return

    def _take(self) -> bool:
        chunk = os.read(self._output, 65536)
        self._kept += chunk
        if len(self._kept) > self._max_bytes:
            del self._kept[: -self._max_bytes or None]
            self._dropped = True
        return bool(chunk)
