"""Run native code on somebody's model in a process of its own, so that its crash is an answer and not our end.

A job is a folder of its own: ``job.json`` says what to do, the process leaves ``result.json`` and arrays beside it. Jobs may run at the
same time, from several threads.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from converters.errors import Died, InputError, PassError
from converters.job_server import SAID, SPAWN_ENV
from edge_agent.errors import EdgeError, ModelError, RuntimeMissing

TIMEOUT_S = 600.0
KINDS: Mapping[str, type[EdgeError]] = {kind.__name__: kind for kind in (InputError, PassError, ModelError, RuntimeMissing)}
SINGLE: Mapping[str, str] = MappingProxyType(
    {
        "ORT_DISABLE_TELEMETRY": "1",
        "ORT_TELEMETRY_DISABLED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    }
)
"""Environment of every job: quiet, and one thread, without which the server could not fork."""
_KILL_S = 5.0
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Ended(Exception):
    """The server ended before the job did."""


class JobServer:
    """Runs jobs in children of a server process, which is started at once, so that its imports go on beside ours; and again if it ends.

    ``fork=False`` makes every job a fresh interpreter: slower, and in need of nothing but a working ``exec``.
    """

    def __init__(self, *, fork: bool = True) -> None:
        self._extra = {} if fork else {SPAWN_ENV: "1"}
        self._lock = threading.Lock()
        self._closed = False
        self._process, self._requests = _start(self._extra)

    def __enter__(self) -> JobServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_requests"):
            self.close()

    def close(self) -> None:
        """Ends whatever still runs, and the server: nothing of them writes into a folder any more."""
        with self._lock:
            self._closed = True
            self._end()

    def run(
        self, folder: Path, timeout_s: float, *, command: Sequence[str] = (), environment: Mapping[str, str] = _NOTHING
    ) -> tuple[int | None, str]:
        """Exit status (negative: the signal; ``None``: no end in time, and killed) and the last line printed by the job in ``folder``,
        or by ``command`` in its place."""
        request = {"folder": str(folder.resolve()), "cwd": str(Path.cwd()), "command": list(command), "environment": dict(environment)}
        packet = json.dumps(request).encode()
        try:
            status = self._once(packet, timeout_s)
        except Ended:  # killed for want of memory, perhaps; a fresh one may have better luck
            status = self._once(packet, timeout_s)
        return status, _last_line(folder / SAID)

    def _once(self, packet: bytes, timeout_s: float) -> int | None:
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                self._send(packet, theirs)
            try:
                ours.settimeout(timeout_s)
                answer = ours.recv(16)
            except BaseException as error:
                ours.shutdown(socket.SHUT_WR)  # kill it; the end of the channel says that it is gone, and writes no more
                ours.settimeout(_KILL_S)
                with contextlib.suppress(TimeoutError):
                    ours.recv(16)
                if isinstance(error, TimeoutError):
                    return None
                raise
            if not answer:
                raise Ended
            return int(answer)

    def _send(self, packet: bytes, channel: socket.socket) -> None:
        with self._lock:
            if self._closed:
                raise Ended
            if self._process.poll() is not None:
                self._restart()
            try:
                socket.send_fds(self._requests, [packet], [channel.fileno()])
            except OSError:  # it ended this very moment
                self._restart()
                socket.send_fds(self._requests, [packet], [channel.fileno()])

    def _restart(self) -> None:
        self._end()
        self._process, self._requests = _start(self._extra)

    def _end(self) -> None:
        self._requests.close()
        try:
            self._process.wait(_KILL_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def run_job(folder: Path, job: Mapping[str, Any], *, timeout_s: float = TIMEOUT_S, server: JobServer | None = None) -> dict[str, Any]:
    """What the job answered; its arrays lie in ``folder``. Errors it met are raised here; its crash or hang is a :class:`Died` with the
    signal or the time. Without ``server`` in a fresh interpreter."""
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "result.json").unlink(missing_ok=True)
    return answer_of(folder, str(job["what"]), timeout_s, server)


def answer_of(
    folder: Path,
    what: str,
    timeout_s: float,
    server: JobServer | None,
    *,
    command: Sequence[str] = (),
    environment: Mapping[str, str] = _NOTHING,
) -> dict[str, Any]:
    """As :func:`run_job` for a job that is written already, or for ``command`` that does it in its own way."""
    with contextlib.nullcontext(server) if server else JobServer(fork=False) as running:
        try:
            status, said = running.run(folder, timeout_s, command=command, environment=environment)
        except Ended:
            raise Died(f"{what}: the process that starts jobs ended twice; is there memory left?") from None
    if status is None:
        raise Died(f"{what}: no answer after {timeout_s:.0f} s")
    if status < 0:
        raise Died(f"{what}: the runtime crashed ({signal.Signals(-status).name}){said and f': {said}'}")
    result = folder / "result.json"
    if not result.exists():
        raise Died(f"{what}: failed ({said or 'it said nothing'})")
    answer: dict[str, Any] = json.loads(result.read_text())
    if "error" in answer:
        raise KINDS.get(answer["kind"], ModelError)(answer["error"])
    return answer


def _start(extra: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    # -P and -I would hide a package that is run from its checkout; the folder of this package is put first instead.
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, **SINGLE, "PYTHONPATH": path, **extra}
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", "converters.job_server", str(theirs.fileno())]
        null = subprocess.DEVNULL
        process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()], stdin=null, stdout=null, stderr=null)
    return process, ours


def _last_line(said: Path) -> str:
    if not said.exists():
        return ""
    with said.open("rb") as file:
        file.seek(max(said.stat().st_size - 4096, 0))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else ""
