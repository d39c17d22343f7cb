"""Each subject in a process of its own: memory is that model's alone, and a model that crashes takes nobody with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Any

from edge_agent.bench import Loaded, OpTime, Round
from edge_agent.bench_subject import Subject
from edge_agent.clock import SystemClock
from edge_agent.errors import ModelError
from edge_agent.runtimes.environment import STARTED_WITH
from edge_agent.runtimes.options import options_to_json


@dataclass(frozen=True, slots=True)
class Measured:
    """One round, and the most memory the process ever had resident."""

    round: Round
    peak_mib: float


class Apart:
    """A process that holds ``subject``; use it as a context. With ``forked`` it is made from this process, which must have one thread and
    has the runtime imported: milliseconds instead of a start. ``cpu_s`` is the processor time it used when it last answered.

    Every call raises ModelError with what it said, how it died, or that it did not answer within ``timeout_s``.
    """

    def __init__(self, subject: Subject, *, forked: bool = False, timeout_s: float | None = None) -> None:
        self.subject = subject
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 closed in close()
        ours, theirs = socket.socketpair()
        self._connection = ours
        self._connection.settimeout(timeout_s)
        self._lines = ours.makefile("r")
        with theirs:
            self._pid = self._fork(theirs) if forked else self._start(theirs)
        self._status: int | None = None
        self.cpu_s = 0.0

    def load(self, warmup: int) -> Loaded:
        """Load and warm up the model."""
        s = self.subject
        order = {"do": "load", "path": s.path, "manifest": s.manifest, "folder": s.folder}
        answer = self._ask({**order, "options": options_to_json(s.options), "warmup": warmup})
        self.cpu_s = answer.pop("cpu_s")
        return Loaded(**{**answer, "notes": tuple(answer["notes"])})

    def round(self, runs: int, seconds: float) -> Measured:
        """Up to ``runs`` inferences within ``seconds`` (one at least)."""
        answer = self._ask({"do": "round", "runs": runs, "seconds": seconds})
        self.cpu_s = answer["cpu_s"]
        return Measured(Round(tuple(answer["times_us"]), answer["cpu_us"], answer["involuntary"]), answer["peak_mib"])

    def ops(self, runs: int) -> tuple[list[OpTime], str]:
        """Times by node, or why there are none."""
        answer = self._ask({"do": "ops", "runs": runs})
        return [OpTime(op, node, 1, us) for op, node, us in answer["ops"]], answer["note"]

    def close(self) -> None:
        """End it, whatever it does."""
        self._lines.close()
        self._connection.close()
        if self._status is None:
            os.kill(self._pid, signal.SIGKILL)
            self._wait()
        self._said.close()

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        try:
            self._connection.sendall(json.dumps(order).encode() + b"\n")
            line = self._lines.readline()
        except TimeoutError:
            raise ModelError(f"{self.subject.label}: no answer within {self._connection.gettimeout():.0f} s") from None
        except OSError:
            line = ""
        if not line:
            raise ModelError(f"{self.subject.label}: the benchmark {self._death()}{self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ModelError(answer["error"])
        return answer

    def _start(self, theirs: socket.socket) -> int:
        command = [sys.executable, "-m", "edge_agent.bench_process", "--fd", str(theirs.fileno())]
        child = subprocess.Popen(
            command,
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._said,
            env={**os.environ, **STARTED_WITH},
        )
        child.returncode = 0  # waited for here, forked or not
        return child.pid

    def _fork(self, theirs: socket.socket) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                from edge_agent.bench_process import serve
                from edge_agent.inference import process

                process.begin("edge-bench", parent)

                self._connection.close()
                for fd in (1, 2):
                    os.dup2(self._said.fileno(), fd)
                status = serve(theirs, SystemClock())
            finally:
                os._exit(status)
        return pid

    def _wait(self) -> int:
        _, status = os.waitpid(self._pid, 0)
        self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def _death(self) -> str:
        status = self._wait()
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def _last_words(self) -> str:
        self._said.seek(0)
        text = self._said.read()[-500:].decode(errors="replace").strip()
        return f": {text}" if text else ""
