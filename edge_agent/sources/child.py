"""A program whose standard output is read: started without a shell, in a process group of its own that ends with it."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence

from edge_agent.errors import SourceError

_PR_SET_PDEATHSIG = 1
_F_SETPIPE_SZ = 1031
_PIPE_BYTES = 1 << 20
_READ_BYTES = 1 << 18
_TAIL_BYTES = 2048
_PATIENCE_MS = 500


class Child:
    """One run of a program. Of its standard error the last 2 KiB are kept. It dies with the thread that started it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts it. Raises OSError when it cannot be."""
        parent_pid = os.getpid()
        prctl = ctypes.CDLL(None).prctl  # looked up before the fork, after which little is safe

        def prepare() -> None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent_pid:
                os._exit(1)
            for number in (signal.SIGINT, signal.SIGTERM):  # ignored here, and that would be inherited
                signal.signal(number, signal.SIG_DFL)

        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **environment},
            cwd="/",
            start_new_session=True,
            preexec_fn=prepare,
        )
        self.pid = self._process.pid
        self._out, self._err = _raw(self._process.stdout), _raw(self._process.stderr)
        self._said, self._silent = b"", False
        self._poller = select.poll()
        self._poller.register(self._out, select.POLLIN)
        self._poller.register(self._err, select.POLLIN)

    def receive(self, timeout_ms: float) -> bytes:
        """What it wrote, empty when nothing came in time. Raises SourceError when it ended."""
        ready = [fd for fd, _ in self._poller.poll(timeout_ms)]
        if self._err in ready:
            self._listen()
        if self._out not in ready:
            return b""
        data = os.read(self._out, _READ_BYTES)
        if not data:
            raise SourceError(self._ending())
        return data

    def heard(self) -> str:
        """The end of its standard error, as one line."""
        return " ".join(self._said.decode("utf-8", "replace").split())

    def forget(self) -> None:
        """What it said so far is dealt with."""
        self._said = b""

    def stop(self) -> int:
        """Ends it and all it started: asked first, killed half a second later. Its status."""
        if self._process.returncode is None:
            self._signal(signal.SIGTERM)
            self._wait()
            self._signal(signal.SIGKILL)  # whatever is left of the group, before its number can be another's
            self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        return int(self._process.returncode)

    def _ending(self) -> str:
        self._wait()
        self._listen()
        said = self.heard()
        status = self.stop()
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"{how}: {said}" if said else how

    def _listen(self) -> None:
        if self._silent:
            return
        try:
            data = os.read(self._err, 1 << 16)
        except BlockingIOError:
            return
        if not data:
            self._silent = True
            self._poller.unregister(self._err)
        self._said = (self._said + data)[-_TAIL_BYTES:]

    def _wait(self) -> None:
        """Until it ended, half a second at most; it is not reaped, so that its group keeps its number."""
        pidfd = os.pidfd_open(self.pid)
        try:
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            poller.poll(_PATIENCE_MS)
        finally:
            os.close(pidfd)

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except OSError:  # nobody is left in it
            pass


def _raw(pipe: object) -> int:
    """The descriptor, which does not block and holds as much as the kernel gives."""
    fd: int = pipe.fileno()  # type: ignore[attr-defined]
    os.set_blocking(fd, False)
    try:
        fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:  # beyond what this user may have
        pass
    return fd
