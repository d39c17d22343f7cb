"""The two devices of the demonstration: a configuration file each, and the agent that runs it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from examples.demo.ledger import Ledger, read_ledger
from examples.demo.processes import BIN, Household, run_tool

RATE_HZ = 100

TEMPLATE = """\
# Written by the demonstration. Check it with: edge-agent check --config {config}
[device]
id = "{name}"
profile = "{profile}"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
labels = {{ site = "demo" }}

[mqtt]
host = "127.0.0.1"
port = {broker_port}

[updates]
repository = "http://127.0.0.1:{repo_port}"
trusted_root = "{root}"
watch_s = 3

[telemetry]
interval_s = 1

[[models]]
name = "digits"
bundle = "{bundle}"

[[pipelines]]
name = "camera"
model = "digits"

[pipelines.source]
kind = "replay"
path = "{samples}"
rate_hz = {rate_hz}
loop = true

[[pipelines.sinks]]
kind = "jsonl"
path = "{folder}/predictions.jsonl"

[[pipelines.sinks]]
kind = "mqtt"
"""


@dataclass(frozen=True, slots=True)
class Device:
    """One agent of the demonstration and its folder."""

    name: str
    profile: str
    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "agent.toml"

    def prepare(self, *, bundle: Path, samples: Path, root: Path, broker_port: int, repo_port: int) -> None:
        """Write the configuration file and have it checked."""
        self.folder.mkdir(parents=True)
        text = TEMPLATE.format(
            config=self.config,
            name=self.name,
            profile=self.profile,
            folder=self.folder,
            bundle=bundle,
            samples=samples,
            root=root,
            broker_port=broker_port,
            repo_port=repo_port,
            rate_hz=RATE_HZ,
        )
        self.config.write_text(text)
        run_tool("edge-agent", "check", "--config", self.config)

    def start(self, household: Household) -> None:
        household.start(self.name, [BIN / "edge-agent", "run", "--config", self.config])

    def status(self) -> dict[str, object]:
        """What ``edge-agent status --json`` says."""
        answer: dict[str, object] = json.loads(run_tool("edge-agent", "status", "--json", "--config", self.config, show=False))
        return answer

    def ledger(self) -> Ledger:
        return read_ledger(self.folder / "predictions.jsonl")

    def pid_of(self, role: str) -> int:
        """Process id of the first process whose role starts with ``role``."""
        processes = self.status()["processes"]
        assert isinstance(processes, list)
        return next(int(p["pid"]) for p in processes if str(p["role"]).startswith(role))

    def version(self) -> str:
        """The version of the digits model that serves now."""
        models = self.status()["models"]
        assert isinstance(models, list)
        return next(str(m["version"]) for m in models if m["name"] == "digits" and m["state"] == "serving")
