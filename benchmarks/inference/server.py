"""One server, ours or a peer's: started, found, asked, stopped in the same way by every figure."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TypeVar

from benchmarks.inference.processes import Process, tree

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
LOOK_S = 0.005
This = TypeVar("This", bound="Server")


class ServerFailed(RuntimeError):
    """It did not start, or refused what it was told; with what it said."""


class Server(ABC):
    """A started process and all below it; ``room`` is a folder of its own, ``log`` what it printed.

    ``title`` names it in tables. ``binary`` says whether it takes tensors as bytes after the JSON; ``grpc_port`` where it speaks gRPC.
    """

    title = "server"
    binary = True
    grpc_port: int | None = None

    def __init__(self, room: Path) -> None:
        self.room = room
        self.port = free_port()
        self.log = room / "log.txt"
        self.started_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    @abstractmethod
    def command(self) -> Sequence[str]:
        """What is run; called once, when it starts."""

    def environment(self) -> Mapping[str, str]:
        """Variables beside those of this process."""
        return {}

    @abstractmethod
    def ready_paths(self) -> Sequence[str]:
        """What answers 200 when it serves everything."""

    @abstractmethod
    def model_processes(self) -> list[Process]:
        """Those that hold a model and may be killed without the server's end being meant."""

    def reload(self, model: str) -> None:
        """Serve the model from its file afresh, the one that serves until then in use. Raises ServerFailed."""
        status, body = self.call("POST", f"/v2/repository/models/{model}/load", b"{}")
        if status != 200:
            raise ServerFailed(f"{self.title}: load answered {status}: {body[:300]!r}")

    def __enter__(self: This) -> This:
        self.room.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1", **self.environment()}
            command = [str(word) for word in self.command()]
            began_s = time.monotonic()
            self._process = self.spawn(command, environment, log)
        try:
            self.wait_ready(began_s + START_TIMEOUT_S)
        except BaseException:
            self.stop()
            raise
        self.started_s = time.monotonic() - began_s
        return self

    def spawn(self, command: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        """The first process, in its room; what it prints goes to the log."""
        nothing = subprocess.DEVNULL
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=nothing, env=environment, start_new_session=True, cwd=self.room)

    def wait_ready(self, deadline_s: float) -> None:
        """Until all of :meth:`ready_paths` answer 200. Raises ServerFailed."""
        for path in self.ready_paths():
            while not self._answers_200(path):
                if self.process.poll() is not None:
                    raise ServerFailed(f"{self.title} ended with {self.process.returncode}: {self.said()}")
                if time.monotonic() > deadline_s:
                    raise ServerFailed(f"{self.title} was not ready within {START_TIMEOUT_S:g} s ({path}): {self.said()}")
                time.sleep(LOOK_S)

    def _answers_200(self, path: str) -> bool:
        try:
            return self.call("GET", path, timeout_s=2.0)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerFailed(f"{self.title} was not started")
        return self._process

    def processes(self) -> tuple[Process, ...]:
        """All of them, the one that was started first."""
        return tree(self.process.pid)

    def pids(self) -> list[int]:
        return [process.pid for process in self.processes()]

    def stop(self) -> float:
        """Ask it to end, kill what does not; the seconds that took."""
        began_s = time.monotonic()
        everyone = self.pids()
        self.process.send_signal(signal.SIGTERM)  # does nothing to one that has ended
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            everyone += self.pids()
        for pid in everyone:
            kill_quietly(pid)
        self.process.wait()
        return time.monotonic() - began_s

    def said(self, characters: int = 600) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace").strip()[-characters:] or "it said nothing"

    def call(self, method: str, path: str, body: bytes | None = None, *, timeout_s: float = 60.0) -> tuple[int, bytes]:
        """One request on a connection of its own. Raises OSError, HTTPException."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body is not None else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def free_port() -> int:
    """One nobody listens at now."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def kill_quietly(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def eventually(done: Callable[[], bool], timeout_s: float) -> float | None:
    """Seconds until ``done``; ``None`` when it was not within ``timeout_s``."""
    began_s = time.monotonic()
    while not done():
        if time.monotonic() - began_s > timeout_s:
            return None
        time.sleep(LOOK_S)
    return time.monotonic() - began_s
