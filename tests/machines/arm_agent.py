"""Runs the agent on this machine as its user would: ``arm_agent.py BUNDLE... --samples FILE --windows N``.

Starts ``edge-agent run`` with a pipeline for each bundle, waits until each has answered N windows, asks ``edge-agent status``, ends it
with SIGTERM, and exits with 1 when anything of that did not hold.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

WAIT_S = 300.0
TOOL = [sys.executable, "-m", "edge_agent"]


def main() -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=50)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = [model_name(bundle) for bundle in args.bundles]
        config = folder / "agent.toml"
        config.write_text(configuration(folder, dict(zip(names, args.bundles, strict=True)), args.samples))
        subprocess.run([*TOOL, "check", "--config", str(config)], check=True)
        began = time.monotonic()
        agent = subprocess.Popen([*TOOL, "run", "--config", str(config), "--log-level", "warning"])
        try:
            for model in names:
                wait_for_lines(folder / f"{model}.jsonl", args.windows, agent, began)
            print(f"      {', '.join(names)}: {args.windows} windows each, {time.monotonic() - began:.0f} s after start")
            status = json.loads(
                subprocess.run([*TOOL, "status", "--json", "--config", str(config)], check=True, capture_output=True).stdout
            )
        finally:
            agent.send_signal(signal.SIGTERM)
            code = agent.wait(60)
        return report(status, names, folder, code)


def report(status: dict[str, Any], names: list[str], folder: Path, code: int) -> int:
    """Judges what was seen; 0 when all is well."""
    serving = {m["name"] for m in status["models"] if m["state"] == "serving"}
    problems = [f"{name} does not serve" for name in names if name not in serving]
    for name in names:
        lines = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
        labelled = [line for line in lines if line["expected"] is not None]
        right = sum(line["label"] == str(line["expected"]) for line in labelled)
        if labelled and right < 0.9 * len(labelled):
            problems.append(f"{name}: only {right} of {len(labelled)} answers are right")
        print(f"      {name}: {right} of {len(labelled)} right")
    if code != 0:
        problems.append(f"edge-agent ended with {code}")
    print("\n".join(f"FAIL  {problem}" for problem in problems) or "ok    the agent served, answered status and ended cleanly")
    return 1 if problems else 0


def model_name(bundle: Path) -> str:
    """The name in the bundle's manifest."""
    with zipfile.ZipFile(bundle) as archive:
        return str(json.loads(archive.read("manifest.json"))["name"])


def configuration(folder: Path, bundles: dict[str, Path], samples: Path) -> str:
    """``agent.toml`` with one model and one pipeline for each bundle."""
    text = f'[device]\nid = "arm"\nstate_dir = "{folder}/state"\nruntime_dir = "{folder}/run"\n[engine]\ndeadline_ms = 30000\n'
    for name, bundle in bundles.items():
        text += f'[[models]]\nname = "{name}"\nbundle = "{bundle}"\n[[pipelines]]\nname = "line-{name}"\nmodel = "{name}"\n'
        text += f'source = {{ kind = "replay", path = "{samples}", rate_hz = 20, loop = true }}\n'
        text += f'sinks = [{{ kind = "jsonl", path = "{folder}/{name}.jsonl" }}]\n'
    return text


def wait_for_lines(path: Path, count: int, agent: subprocess.Popen[bytes], began: float) -> None:
    """Returns when ``path`` has ``count`` lines; exits with what is missing when the agent ends or the time is up."""
    while not path.exists() or len(path.read_text().splitlines()) < count:
        if agent.poll() is not None:
            sys.exit(f"FAIL  edge-agent ended with {agent.returncode}")
        if time.monotonic() - began > WAIT_S:
            sys.exit(f"FAIL  {path.name}: fewer than {count} answers after {WAIT_S:.0f} s")
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
