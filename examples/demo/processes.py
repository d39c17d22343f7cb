"""The processes the demonstration starts, and the promise that none is left behind."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

BIN = Path(sys.executable).parent


class StepFailed(Exception):
    """A step of the demonstration did not do what it shows."""


@dataclass(slots=True)
class Household:
    """Every process started here, with its log; ended in reverse order."""

    folder: Path
    started: list[tuple[str, subprocess.Popen[bytes]]] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        """Start ``command`` with its output in ``logs/NAME.log``, in a process group of its own."""
        log = self.folder / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            process = subprocess.Popen(
                [str(c) for c in command], stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
            )
        self.started.append((name, process))
        return process

    def end_all(self) -> list[str]:
        """Stop everything, gently first; returns what had to be killed or was left behind (empty is right)."""
        family = {p.pid: p for _, process in self.started for p in _tree(process.pid)}
        for _, process in reversed(self.started):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        _, alive = psutil.wait_procs(list(family.values()), timeout=5)
        left = [f"{p.pid} {p.name()}" for p in alive]
        for p in alive:
            p.kill()
        return left

    def check(self) -> None:
        """Raise when a process ended by itself."""
        for name, process in self.started:
            if process.poll() is not None:
                tail = (self.folder / "logs" / f"{name}.log").read_text(errors="replace")[-2000:]
                raise StepFailed(f"{name} ended with status {process.returncode}:\n{tail}")


def _tree(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def run_tool(name: str, *arguments: str | Path, show: bool = True, expect: int = 0) -> str:
    """Run one of our commands to its end and return what it printed; :class:`StepFailed` on another exit status than ``expect``."""
    command = [str(BIN / name), *map(str, arguments)]
    if show:
        _show(name, arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != expect:
        raise StepFailed(f"{name} {arguments[0]} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def run_live(name: str, *arguments: str | Path, expect: int = 0, timeout_s: float = 120) -> None:
    """Like :func:`run_tool`, with what the command prints shown as it comes."""
    _show(name, arguments)
    done = subprocess.run([str(BIN / name), *map(str, arguments)], timeout=timeout_s, check=False)
    if done.returncode != expect:
        raise StepFailed(f"{name} {arguments[0]} ended with status {done.returncode} instead of {expect}")


def _show(name: str, arguments: Sequence[str | Path]) -> None:
    """Print a command so that it can be copied: paths from here, long ones over several lines."""
    here = str(Path.cwd()) + os.sep
    words = shlex.join([name, *(str(a).removeprefix(here) for a in arguments)])
    lines = textwrap.wrap(words, 100, subsequent_indent="      ", break_long_words=False, break_on_hyphens=False)
    print("  $ " + " \\\n".join(lines), flush=True)


def free_port() -> int:
    """A TCP port of the loopback interface nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str, household: Household) -> float:
    """Seconds until ``condition`` held; :class:`StepFailed` when it did not within ``timeout_s``."""
    began = time.monotonic()
    pause = threading.Event()
    while not condition():
        household.check()
        if time.monotonic() - began > timeout_s:
            raise StepFailed(f"{what}: not within {timeout_s:g} s")
        pause.wait(0.02)
    return time.monotonic() - began


def listening(port: int) -> bool:
    """Whether something accepts connections on the loopback ``port``."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def mosquitto_path() -> str | None:
    """Mosquitto's program, looked for in the administrator's folders too."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def start_broker(household: Household, port: int) -> str:
    """Mosquitto when it is on PATH, else the embedded broker; returns which."""
    mosquitto = mosquitto_path()
    if mosquitto:
        config = household.folder / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
        household.start("broker", [mosquitto, "-c", config])
        kind = "Mosquitto"
    else:
        household.start("broker", [BIN / "edge-fleet", "broker", "--host", "127.0.0.1", "--port", str(port)])
        kind = "embedded (amqtt)"
    wait_until(lambda: listening(port), 20, "the broker listens", household)
    return kind


def start_repository(household: Household, repo: Path, port: int) -> None:
    """Serve the signed repository at ``repo`` on the loopback ``port``."""
    household.start("repository", [BIN / "edge-fleet", "serve", "--repo", repo, "--port", str(port)])
    wait_until(lambda: listening(port), 20, "the repository listens", household)
