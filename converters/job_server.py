"""The parent of all jobs: imports numpy, onnx and the runtimes once, then forks a process for each job it is told of.

``python -m converters.job_server FD``, started by ``isolate``. At first it loads the standard library only and looks for requests between
its imports, so that the first job need not wait for what it does not use.

A request is one packet on the socket FD: a folder (see ``isolate``), a command to run in place of a job, and the job's own socket. On that
goes the exit status when the process has ended; a client that closes it wants the process killed. The end of FD is the end of everything:
this process ends, and its children die with it. (Dying with the parent by ``PR_SET_PDEATHSIG`` would be wrong for this process: that is
tied to the parent's *thread*, and any thread may have started it.)

Forking with more than one thread can deadlock the child on a lock nobody will release, so with threads a fresh interpreter is started.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any

IMPORTS = ("numpy", "onnx", "converters.job", "onnxruntime", "ai_edge_litert.interpreter", "onnx.reference")
"""In the order in which a build needs them."""
SPAWN_ENV = "EDGE_CONVERT_SPAWN"
"""Set to anything but nothing: never fork, start a fresh interpreter for each job."""
SAID = "said.txt"
"""What a job's process printed, native code included."""
MAX_PACKET = 1 << 16
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class Server:
    """Starts, kills and reaps the processes of jobs on the client's word."""

    def __init__(self, requests: socket.socket, *, fork: bool) -> None:
        self._requests = requests
        self._fork = fork
        self._children: dict[int, socket.socket] = {}
        self._wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)

    def run(self) -> None:
        """Until the client closes its end; no child is left then."""
        left = list(IMPORTS if self._fork else ())
        while self._turn(0 if left else None):
            if left:
                with contextlib.suppress(Exception):  # an absent library is for the job that needs it to report
                    importlib.import_module(left.pop(0))
                if not left:
                    gc.collect()
                    gc.freeze()  # the collector of a child would otherwise touch, and so copy, every page
        for pid in list(self._children):
            self._abandon(pid)

    def _turn(self, timeout_ms: int | None) -> bool:
        """Handles what has come in; false at the end."""
        poll = select.poll()
        poll.register(self._requests, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        by_fd = {channel.fileno(): pid for pid, channel in self._children.items()}
        for fd in by_fd:
            poll.register(fd, select.POLLIN)  # clients send nothing there: readable means closed
        for fd, _ in poll.poll(timeout_ms):
            if fd == self._wake_read:
                os.read(fd, 4096)
                self._reap()
            elif fd == self._requests.fileno():
                if not self._obey():
                    return False
            elif by_fd[fd] in self._children:
                self._abandon(by_fd[fd])
        return True

    def _obey(self) -> bool:
        packet, fds, _, _ = socket.recv_fds(self._requests, MAX_PACKET, 1)
        if not packet:
            return False
        channel = socket.socket(fileno=fds[0])
        self._children[self._begin(json.loads(packet))] = channel
        return True

    def _begin(self, request: dict[str, Any]) -> int:
        command = request["command"]
        if not command and not (self._fork and _threads() == 1):
            command = [sys.executable, "-m", "converters.job", request["folder"]]
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            _become_child(parent, request)
            if command:
                os.execve(command[0], command, {**os.environ, **request["environment"]})
            job = importlib.import_module("converters.job")
            status = job.main([request["folder"]])
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            # Not sys.exit: the clean-up of the server, and its loop, must not run in the child.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _abandon(self, pid: int) -> None:
        """Its client is gone; the reaping follows."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self._children.pop(pid).close()

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            channel = self._children.pop(pid)
            with contextlib.suppress(OSError):  # the client may have left meanwhile
                channel.send(str(os.waitstatus_to_exitcode(status)).encode())
            channel.close()


def _become_child(parent: int, request: dict[str, Any]) -> None:
    """Dies with the server, prints into its folder, holds no descriptor of the server's, works where the client does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    said = os.open(Path(request["folder"]) / SAID, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND, 0o600)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.closerange(3, 1 << 16)
    os.chdir(request["cwd"])


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - a list is enough


def _ignore(number: int, frame: object) -> None:
    """SIGCHLD only has to wake the poll."""


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the client ends its jobs in its own time
    with socket.socket(fileno=int(arguments[0])) as requests:
        Server(requests, fork=not os.environ.get(SPAWN_ENV)).run()
    os._exit(0)  # nothing to tidy, and tearing down what was imported takes a tenth of a second


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
