"""The process that serves the local API over gRPC: started, kept alive, ended. Knows nothing of gRPC itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edge_agent.clock import Clock, monotonic_s
from edge_agent.errors import ConfigError, EdgeError, Problem
from edge_agent.inference.crashes import CrashRecord
from edge_agent.values import Event

START_LIMIT_S = 20.0
STOP_LIMIT_S = 5.0
CRASH_LIMIT = 3
CRASH_WINDOW_S = 60.0


def grpc_problem(key: str) -> Problem | None:
    """What keeps this installation from serving gRPC, told for the setting ``key``; without importing it."""
    try:
        missing = [name for name, module in (("grpcio", "grpc"), ("protobuf", "google.protobuf")) if find_spec(module) is None]
    except ModuleNotFoundError:  # the package "google" itself
        missing = ["protobuf"]
    if not missing:
        return None
    return Problem(key, f"gRPC needs {' and '.join(missing)}: pip install 'edge-runtime[grpc]'")


class GrpcProcess:
    """``http_path`` is the HTTP API's unix socket, ``listen`` as in ``--listen``; ``key`` is the setting that errors name.

    The process ends with the one that started it, whatever becomes of that. When it dies it is started again (``grpc_died``): at once, or
    later and later when it does so again and again; ``grpc_unavailable`` says that it could not be.
    """

    def __init__(
        self,
        http_path: Path,
        listen: str,
        token_file: Path | None,
        report: Callable[[Event], None],
        clock: Clock,
        *,
        key: str = "api.grpc",
        max_body_bytes: int = 64 << 20,
    ) -> None:
        self.url = ""
        self._http_path = http_path
        self._listen = listen
        self._token_file = token_file
        self._report = report
        self._clock = clock
        self._key = key
        self._max_body_bytes = max_body_bytes
        self._record = CrashRecord(CRASH_LIMIT, CRASH_WINDOW_S)
        self._lock = threading.Lock()
        self._halt = threading.Event()
        self._settled = threading.Event()
        self._refused = ""
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._live, name="grpc", daemon=True)

    @property
    def pid(self) -> int:
        """Of the process that runs, 0 when none does."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else 0

    def start(self) -> None:
        """Returns when it listens. Raises ConfigError without the extra, EdgeError saying why it does not; then nothing is left running."""
        problem = grpc_problem(self._key)
        if problem is not None:
            raise ConfigError([problem])
        # The kernel ends the child with the thread that started it (PR_SET_PDEATHSIG), so one thread starts them all, and stays.
        self._thread.start()
        heard = self._settled.wait(START_LIMIT_S)
        if not self.url:
            self.stop()
            raise EdgeError(f"{self._key}: {self._refused or ('it ended at once' if heard else f'not ready within {START_LIMIT_S:g} s')}")

    def stop(self) -> None:
        """Have it finish what is under way, and end."""
        with self._lock:
            self._halt.set()
            child = self._child
            if child is not None and child.stdin is not None:
                child.stdin.close()
        self._settled.set()
        if child is not None:
            try:
                child.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                child.kill()
        if self._thread.is_alive():
            self._thread.join(STOP_LIMIT_S)

    def _live(self) -> None:
        while not self._halt.is_set():
            child = self._begin()
            came_up = child is not None and self._listen_to(child)
            if self._halt.is_set():
                return
            self._settled.set()
            if not self.url:
                return  # it never came up: start() says so
            delay_s = self._record.died(monotonic_s(self._clock), useful=came_up).delay_s
            self._tell_death(child, came_up, delay_s)
            self._halt.wait(delay_s)

    def _begin(self) -> subprocess.Popen[bytes] | None:
        """A new process; ``None`` when the system has no room for one, or it is no longer wanted."""
        with self._lock:
            if self._halt.is_set():
                return None
            try:
                self._child = subprocess.Popen(self._command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            except OSError as error:
                self._refused = f"cannot be started: {error.strerror}"
                self._child = None
            return self._child

    def _command(self) -> list[str]:
        words = [sys.executable, "-m", "edge_agent.grpc_front", "--http", f"unix:{self._http_path}", "--listen", self.url or self._listen]
        words += ["--max-body-bytes", str(self._max_body_bytes), "--parent", str(os.getpid())]
        return words + (["--token-file", str(self._token_file)] if self._token_file is not None else [])

    def _listen_to(self, child: subprocess.Popen[bytes]) -> bool:
        """What it says until it ends; whether it came up."""
        came_up = False
        assert child.stdout is not None and child.stdin is not None
        with child.stdout as lines:
            for line in lines:
                said = _understood(line)
                self._refused = said.get("refused", self._refused)
                if "listening" in said:
                    self.url, self._refused, came_up = said["listening"], "", True
                    self._settled.set()
        child.wait()
        with self._lock:
            child.stdin.close()
        return came_up

    def _tell_death(self, child: subprocess.Popen[bytes] | None, came_up: bool, delay_s: float) -> None:
        code = child.returncode if child is not None else None
        again = f"it is started again in {delay_s:g} s" if delay_s else "it is started again"
        data = {"code": code, "delay_s": delay_s}
        if came_up:
            self._say("grpc_died", "error", f"the process of the local API over gRPC died ({_ending(code)}); {again}", data)
        else:
            text = f"the local API over gRPC is away: {self._refused or _ending(code)}; {again}"
            self._say("grpc_unavailable", "error", text, data)

    def _say(self, kind: str, level: str, text: str, data: dict[str, Any]) -> None:
        self._report(Event(kind, level, text, self._clock.wall_ns(), data))


def _understood(line: bytes) -> dict[str, str]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return {key: str(value) for key, value in said.items()} if isinstance(said, dict) else {}


def _ending(code: int | None) -> str:
    if code is None:
        return "it could not be started"
    return f"signal {-code}" if code < 0 else f"status {code}"
