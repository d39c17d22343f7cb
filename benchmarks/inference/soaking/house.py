"""The device that is soaked: a real agent with its state folder, a real broker, one configuration."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inference.processes import tree
from benchmarks.inference.server import ServerFailed, eventually, free_port
from benchmarks.inference.soaking.numbered import numbered_bundle, reading, window_bundle
from edge_agent.errors import EdgeError
from edge_agent.serving.local_client import call_agent
from examples.demo.processes import listening, mosquitto_path

BIN = Path(sys.executable).parent
MODEL, SLOW = "numbered", "window"
PLAY, WIRE, LATE = "play", "wire", "late"
PIPELINES = (PLAY, WIRE, LATE)
RATE_HZ = 100
QUEUE = 1024
RECORDED = 1000
LATE_ROWS, LATE_HOP = 20, 5
DEADLINE_S, SILENT_S = 5.0, 10.0
FLUSH_S = 5.0
"""What the outbox promises of predictions: on disk within this."""
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0


class House:
    """``folder`` holds everything. ``starts``: how often the agent was started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "agent.toml"
        self.log = folder / "agent.log"
        self.wire = folder / "wire.sock"
        self.broker = Broker(folder / "broker")
        self.starts = 0
        self.agent: subprocess.Popen[bytes] | None = None

    def furnish(self) -> None:
        """Write the configuration, the recording and the first bundles."""
        np.savez(self.folder / "play.npz", x=np.array([reading(number) for number in range(RECORDED)], np.float32))
        numbered_bundle(self.folder / "numbered.edgemodel", 1, MODEL)
        window_bundle(self.folder / "window.edgemodel", LATE_ROWS, SLOW)
        self.config.write_text(_CONFIG.format(port=self.broker.port, wire=self.wire))

    def start(self) -> None:
        """Start the agent and wait until every pipeline runs. Raises ServerFailed."""
        self.starts += 1
        command = [str(BIN / "edge-agent"), "run", "--config", str(self.config)]
        with self.log.open("ab") as log:
            self.agent = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        if eventually(lambda: self._runs(), START_TIMEOUT_S) is None:
            raise ServerFailed(f"the agent does not serve: {self.log.read_text(errors='replace')[-2000:]}")

    def _runs(self) -> bool:
        if self.process.poll() is not None:
            raise ServerFailed(f"the agent ended with {self.process.returncode}: {self.log.read_text(errors='replace')[-2000:]}")
        status = self.status()
        time.sleep(0.05)
        return status is not None and {p["name"] for p in status["pipelines"] if p["state"] == "running"} == set(PIPELINES)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self.agent is not None
        return self.agent

    def status(self) -> dict[str, Any] | None:
        """What ``edge-agent status --json`` says; ``None`` while nobody answers."""
        try:
            answer: dict[str, Any] = self.call({"call": "status"}, timeout_s=10.0)
        except EdgeError:
            return None
        return answer

    def call(self, request: dict[str, Any], *, attach: Path | None = None, timeout_s: float = 120.0) -> Any:
        """One order over the agent's own socket. Raises EdgeError."""
        return call_agent(self.folder / "run" / "agent.sock", request, attach=attach, timeout_s=timeout_s)

    def pids(self, role: str) -> list[int]:
        """Of the processes whose role begins so."""
        status = self.status()
        return [int(p["pid"]) for p in status["processes"] if p["role"].startswith(role) and p["pid"]] if status else []

    def lose_power(self) -> list[str]:
        """The agent's first process is killed, as a kernel would; returns what outlived it by five seconds."""
        family = [process.pid for process in tree(self.process.pid)]
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        gone = eventually(lambda: not any(map(alive, family)), 5.0)
        left = [f"{pid}: {_title(pid)}" for pid in family if alive(pid)] if gone is None else []
        for pid in family:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        return left

    def stop(self) -> list[str]:
        """End the agent in order; returns what was wrong with that."""
        if self.agent is None or self.agent.poll() is not None:
            return ["the agent had ended by itself"] if self.agent is not None else []
        family = [process.pid for process in tree(self.process.pid)]
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.lose_power()
            return [f"the agent did not end within {STOP_TIMEOUT_S:g} s of being told to"]
        wrong = [f"the agent ended with status {status}"] if status else []
        if eventually(lambda: not any(map(alive, family)), 5.0) is None:
            wrong += [f"outlived the agent: {pid} {_title(pid)}" for pid in family if alive(pid)]
        return wrong


class Broker:
    """Mosquitto on a port of its own, which keeps sessions and messages over a stop in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Raises ServerFailed where there is no Mosquitto, or it does not listen."""
        program = mosquitto_path()
        if program is None:
            raise ServerFailed("the soak needs Mosquitto on PATH: apt install mosquitto")
        self.folder.mkdir(exist_ok=True)
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "user root", "max_queued_messages 0", "persistence true"]
        lines += [f"persistence_location {self.folder}/", "autosave_interval 0"]
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        with (self.folder / "log").open("ab") as log:
            command = [program, "-c", str(self.folder / "mosquitto.conf")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        if eventually(lambda: listening(self.port), 20.0) is None:
            raise ServerFailed(f"Mosquitto does not listen: {(self.folder / 'log').read_text()[-500:]}")

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def stop(self) -> None:
        """In order, so that it keeps what it promised to deliver."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if self.process is not None:
            try:
                self.process.wait(20.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def until(done: Callable[[], bool], timeout_s: float, pause_s: float = 0.1) -> bool:
    """Whether ``done`` held within ``timeout_s``; looks seldom, for the machine is busy with what is measured."""
    ends_s = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > ends_s:
            return False
        time.sleep(pause_s)
    return True


def alive(pid: int) -> bool:
    """Whether process ``pid`` is there and no zombie."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _title(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "gone"


_CONFIG = f"""[device]
id = "soak"
profile = "generic-x86-64"
state_dir = "state"
runtime_dir = "run"
[mqtt]
host = "127.0.0.1"
port = {{port}}
keepalive_s = 5
outbox_mib = 64
[updates]
watch_s = 2
[telemetry]
interval_s = 5
[engine]
deadline_ms = {DEADLINE_S * 1000:g}
silent_s = {SILENT_S:g}
crash_limit = 1000
[api]
listen = ["unix"]
[[models]]
name = "{MODEL}"
bundle = "numbered.edgemodel"
[[models]]
name = "{SLOW}"
bundle = "window.edgemodel"
[[pipelines]]
name = "{PLAY}"
model = "{MODEL}"
queue = {QUEUE}
policy = "drop_oldest"
[pipelines.source]
kind = "replay"
path = "play.npz"
rate_hz = {RATE_HZ}
loop = true
[[pipelines.sinks]]
kind = "jsonl"
path = "{PLAY}.jsonl"
keep = 1000
[[pipelines]]
name = "{WIRE}"
model = "{MODEL}"
queue = {QUEUE}
policy = "drop_oldest"
[pipelines.source]
kind = "socket"
address = "unix:{{wire}}"
listen = true
framing = "csv"
fields = ["a", "b", "c", "d", "label"]
[[pipelines.sinks]]
kind = "jsonl"
path = "{WIRE}.jsonl"
keep = 1000
[[pipelines.sinks]]
kind = "mqtt"
[[pipelines]]
name = "{LATE}"
model = "{SLOW}"
length = {LATE_ROWS}
hop = {LATE_HOP}
policy = "latest_only"
[pipelines.source]
kind = "synthetic"
channels = 4
rate_hz = {RATE_HZ}
[[pipelines.sinks]]
kind = "jsonl"
path = "{LATE}.jsonl"
keep = 1000
"""
