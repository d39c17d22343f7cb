"""One device, its repository and its tools as real processes, for the tests of the whole product."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from models import CHANNELS
from waiting import wait_for

from examples.demo.processes import free_port

BIN = Path(sys.executable).parent


def tool(name: str, *arguments: str | Path, expect: int | None = 0, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Run one of our commands; the test fails when its exit status is not ``expect``."""
    command = [str(BIN / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert expect is None or done.returncode == expect, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@dataclass
class Household:
    """Processes and files of one device in ``folder``."""

    folder: Path
    broker_port: int = 0
    repo_port: int = field(default_factory=free_port)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    extra: str = ""

    @property
    def config(self) -> Path:
        return self.folder / "agent.toml"

    @property
    def repo(self) -> Path:
        return self.folder / "repository"

    def write_config(self, *, bundle: Path | None, rate_hz: float = 50, watch_s: float = 1.0, repository: bool = True) -> None:
        np.savez(self.folder / "x.npz", x=np.random.default_rng(3).uniform(-2, 2, (64, CHANNELS)).astype(np.float32))
        mqtt = f'[mqtt]\nhost = "127.0.0.1"\nport = {self.broker_port}\nkeepalive_s = 5\n' if self.broker_port else ""
        source = f'repository = "http://127.0.0.1:{self.repo_port}"\ntrusted_root = "repository/public/root.json"\n' if repository else ""
        seed = f'bundle = "{bundle}"\n' if bundle else ""
        sink = '[[pipelines.sinks]]\nkind = "mqtt"\n' if self.broker_port else ""
        self.config.write_text(
            f'[device]\nid = "dev"\nprofile = "generic-x86-64"\nstate_dir = "state"\nruntime_dir = "run"\n{mqtt}'
            f"[updates]\n{source}watch_s = {watch_s}\n[telemetry]\ninterval_s = 0.5\n{self.extra}"
            f'[[models]]\nname = "tiny"\n{seed}'
            f'[[pipelines]]\nname = "line"\nmodel = "tiny"\n[pipelines.source]\nkind = "replay"\npath = "x.npz"\n'
            f'rate_hz = {rate_hz}\nloop = true\n[[pipelines.sinks]]\nkind = "jsonl"\npath = "out.jsonl"\n{sink}'
        )

    def start(self, name: str, *command: str | Path) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen([str(c) for c in command], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def start_agent(self) -> subprocess.Popen[bytes]:
        process = self.start("agent", BIN / "edge-agent", "run", "--config", self.config)
        wait_for(lambda: self.socket_answers() or process.poll() is not None, 30, "the agent answers on its socket")
        assert process.poll() is None, self.log("agent")
        return process

    def socket_answers(self) -> bool:
        return (self.folder / "run" / "agent.sock").exists() and tool(
            "edge-agent", "models", "--config", self.config, expect=None
        ).returncode == 0

    def start_repository(self) -> None:
        process = self.start("repository", BIN / "edge-fleet", "serve", "--repo", self.repo, "--port", str(self.repo_port))
        wait_for(lambda: "http://" in self.log("repository") or process.poll() is not None, 20, "the repository serves")
        assert process.poll() is None, self.log("repository")

    def publish(self, bundle: Path) -> None:
        tool("edge-fleet", "publish", bundle, "--repo", self.repo)

    def fleet(self, *arguments: str | Path, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
        return tool("edge-fleet", *arguments, "--broker", f"127.0.0.1:{self.broker_port}", "--state", self.folder / "fleet", expect=expect)

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(tool("edge-agent", "status", "--json", "--config", self.config).stdout)
        return answer

    def model(self) -> dict[str, Any]:
        return next(m for m in self.status()["models"] if m["name"] == "tiny")

    def pid(self, role: str) -> int:
        return next(int(p["pid"]) for p in self.status()["processes"] if p["role"].startswith(role))

    def lines(self) -> list[dict[str, Any]]:
        path = self.folder / "out.jsonl"
        return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []

    def wait_answers(self, more: int = 20) -> None:
        target = len(self.lines()) + more
        wait_for(lambda: len(self.lines()) >= target, 20, f"{more} more answers\n{self.log('agent')[-2000:]}")

    def assert_nothing_lost(self) -> None:
        """Since the pipeline started, every sample has exactly one answer."""
        seen = Counter(int(line["first_seq"]) for line in self.lines())
        assert set(seen) == set(range(len(seen))), sorted(set(range(max(seen) + 1)) - set(seen))[:10]
        assert max(seen.values()) == 1

    def end(self) -> None:
        """Stop everything; fail when the agent does not end cleanly or leaves a process behind."""
        family = [p for process in self.processes if process.poll() is None for p in psutil.Process(process.pid).children(recursive=True)]
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=20)
        _, alive = psutil.wait_procs(family, timeout=10)
        for p in alive:
            p.kill()
        assert not alive, [p.cmdline() for p in alive if p.is_running()]


def kill_hard(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
