"""The two devices of the demonstration: a configuration file each, and the agent that runs it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.demo.ledger import Ledger, read_ledger
from examples.demo.processes import BIN, Household, run_tool, wait_until

RATE_HZ = 100
DIGITS = Path(__file__).resolve().parent.parent / "digits"
PROFILES = ("rpi4", "rpi5")

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
    rate_hz: float = RATE_HZ

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
            rate_hz=self.rate_hz,
        )
        self.config.write_text(text)
        run_tool("edge-agent", "check", "--config", self.config)

    def start(self, household: Household) -> None:
        household.start(self.name, [BIN / "edge-agent", "run", "--config", self.config])

    def status(self) -> dict[str, object]:
        """What ``edge-agent status --json`` says."""
        answer: dict[str, object] = json.loads(run_tool("edge-agent", "status", "--json", "--config", self.config, show=False))
        return answer

    def ledger(self, *, pauses_since: int = 0) -> Ledger:
        return read_ledger(self.folder / "predictions.jsonl", pauses_since=pauses_since)

    def wait_answers(self, household: Household, count: int, *, version: str = "", timeout_s: float) -> None:
        """Until ``count`` samples are answered, by ``version`` where it is given. Raises StepFailed."""

        def enough() -> bool:
            ledger = self.ledger()
            return (ledger.by_version.get(version, 0) if version else ledger.answered) >= count

        what = f"{self.name} has {count} answers" + (f" of {version}" if version else "")
        wait_until(enough, timeout_s, what, household)

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


def build_digits(model: str, version: str, bundle: Path, *, show: bool = True) -> dict[str, Any]:
    """Convert ``examples/digits/MODEL`` for both boards with the command a user would type; returns the converter's report."""
    output = run_tool(
        "edge-convert",
        "build",
        DIGITS / model,
        *(word for profile in PROFILES for word in ("--profile", profile)),
        "--samples",
        DIGITS / "samples.npz",
        "--processing",
        DIGITS / "processing.toml",
        "--name",
        "digits",
        "--version",
        version,
        "-o",
        bundle,
        "--scheme",
        "int8",
        "--quiet",
        "--json",
        show=show,
    )
    report: dict[str, Any] = json.loads(output)
    return report


def against_original(report: dict[str, Any]) -> str:
    """Accuracy, size and latency of the converter's choice against the float original, in one line."""
    chosen = next(c for c in report["candidates"] if c["label"] == report["chosen"])
    source = report["source"]
    return (
        f"{report['chosen']}: accuracy {100 * chosen['accuracy']:.2f} % (float {100 * chosen['original_accuracy']:.2f} %), "
        f"size {chosen['bytes'] / 1e3:.1f} kB ({source['bytes'] / chosen['bytes']:.1f} times smaller), "
        f"latency {chosen['latency_us']['median_us']:.1f} us ({1 / chosen['latency_ratio']['median']:.1f} times as fast on this machine)"
    )
