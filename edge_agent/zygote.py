"""The zygote: imports numpy and the runtimes once, then forks a ready process in milliseconds whenever the engine asks.

It holds no model and has exactly one thread; forking a process with more can deadlock the child on a lock nobody will release.
Where a library started threads on import it says so and starts fresh processes instead, which is slower but safe.
It is the parent of workers and pipelines: they die with it, and only it reaps them, so a process id it is told to kill is never
another's.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from edge_agent import describer, front_process, pipeline_process, worker
from edge_agent.errors import EdgeError
from edge_agent.inference import process
from edge_agent.inference.wire import Channel, ChannelClosed, Packet, close_all, from_fd

MODULES = {
    "worker": "edge_agent.worker",
    "pipeline": "edge_agent.pipeline_process",
    "front": "edge_agent.front_process",
    "describe": "edge_agent.describer",
}
MAINS: dict[str, Callable[[Channel], int]] = {
    "worker": worker.serve,
    "pipeline": pipeline_process.serve,
    "front": front_process.serve,
    "describe": describer.serve,
}


class Zygote:
    """Spawns, kills and reaps on the engine's word."""

    def __init__(self, channel: Channel, *, fork: bool) -> None:
        self._channel = channel
        self._may_fork = fork
        self._children: dict[int, int] = {}
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> None:
        """Until the engine closes its end (raises ChannelClosed); then the children die with this process."""
        signal.signal(signal.SIGCHLD, _ignore)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._wake_read:
                    os.read(fd, 4096)
                    self._reap()
                else:
                    self._obey()

    def _obey(self) -> None:
        packet = self._channel.receive()
        if packet is None:
            return
        if packet.message["op"] == "spawn":
            self._spawn(packet)
        elif packet.message["op"] == "kill" and packet.message["pid"] in self._children:
            os.kill(packet.message["pid"], packet.message["signal"])

    def _spawn(self, packet: Packet) -> None:
        number, role, (fd,) = packet.message["id"], packet.message["role"], packet.fds
        try:
            fork = self._may_fork and process.thread_count() == 1
            pid = self._forked(role, packet.message["title"], fd) if fork else _started(role, fd)
        except OSError as error:
            self._channel.send({"event": "exited", "id": number, "pid": 0, "code": -1, "signal": 0, "reason": str(error)}, timeout_s=5.0)
        else:
            self._children[pid] = number
            self._channel.send({"event": "spawned", "id": number, "pid": pid}, timeout_s=5.0)
        finally:
            close_all(packet.fds)

    def _forked(self, role: str, title: str, fd: int) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                process.keep_only((fd,))
                process.begin(title, parent)
                status = MAINS[role](from_fd(fd))
            except BaseException as error:
                sys.excepthook(type(error), error, error.__traceback__)
            finally:
                # Not sys.exit: the zygote's own clean-up (and its buffers) must not run in the child.
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        return pid

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._children.pop(pid, None)
            if number is not None:
                code = os.waitstatus_to_exitcode(status)
                exit_: dict[str, Any] = {"event": "exited", "id": number, "pid": pid, "code": max(code, 0), "signal": max(-code, 0)}
                self._channel.send(exit_, timeout_s=5.0)


def _started(role: str, fd: int) -> int:
    import subprocess  # where forking is safe nothing needs it

    command = [sys.executable, "-m", MODULES[role], "--fd", str(fd)]
    # Reaped by waitpid in _reap, so the Popen object is not kept.
    child = subprocess.Popen(command, pass_fds=(fd,), stdin=subprocess.DEVNULL)
    child.returncode = 0
    return child.pid


def _ignore(number: int, frame: object) -> None:
    """SIGCHLD only has to wake the poll."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """``fd`` of the control channel, ``runtimes`` to import, whether to import what the local ``api`` needs, and whether to ``spawn`` fresh
    processes instead of forking."""

    fd: int
    runtimes: tuple[str, ...]
    api: bool
    spawn: bool


def _arguments(argv: list[str]) -> Arguments:
    """``--fd N --runtimes A,B [--api] [--spawn]``. Read by hand: argparse is 0.3 MiB that no process forked from here needs."""
    said = dict(pairwise(argv))
    runtimes = tuple(name for name in said.get("--runtimes", "").split(",") if name)
    return Arguments(int(said["--fd"]), runtimes, "--api" in argv, "--spawn" in argv)


def main(argv: list[str] | None = None) -> int:
    said = _arguments(sys.argv[1:] if argv is None else argv)
    channel = from_fd(said.fd)
    try:
        process.begin("edge-zygote", os.getppid())
        _import_all(said.runtimes, api=said.api)
        threads = process.thread_count()
        fork = threads == 1 and not said.spawn
        gc.collect()
        process.give_back_memory()
        gc.freeze()
        channel.send({"event": "ready", "fork": fork, "threads": threads}, timeout_s=5.0)
        Zygote(channel, fork=fork).run()
    except ChannelClosed:
        return 0
    except EdgeError as error:
        channel.send({"event": "failed", "reason": str(error)}, timeout_s=1.0)
        return 1
    return 0


def _import_all(runtimes: tuple[str, ...], *, api: bool) -> None:
    from edge_agent.runtimes.choose import preimport

    preimport(runtimes)
    # What the children import on their way: here once, shared by all.
    from edge_agent.bundle import golden  # noqa: F401
    from edge_agent.inference import measure, worker_loop  # noqa: F401
    from edge_agent.pipeline import postprocess, preprocess, runner, window  # noqa: F401

    if api:
        from edge_agent.front import front  # noqa: F401


if __name__ == "__main__":
    sys.exit(main())
