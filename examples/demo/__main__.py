"""`make demo`: a trained model becomes a healthy fleet, an update loses nothing, a bad update is refused, a killed worker is replaced.

Everything is real: the commands are those a user types, the processes are those a device runs. Ends with a table and status 0,
or says which step failed, with status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path

from examples.demo.devices import DIGITS, PROFILES, RATE_HZ, Device, against_original, build_digits
from examples.demo.processes import Household, StepFailed, free_port, run_live, run_tool, start_broker, start_repository
from examples.demo.sabotage import swap_labels_in_model

WIDTH = 110
"""Characters in a line of the closing table."""


@dataclass(slots=True)
class Story:
    """What the steps hand on, and the rows of the closing table."""

    out: Path
    household: Household
    devices: list[Device] = field(default_factory=list)
    rows: list[tuple[str, str]] = field(default_factory=list)
    broker_port: int = 0
    repo_port: int = 0
    began_s: float = field(default_factory=time.monotonic)

    def bundle(self, version: str) -> Path:
        return self.out / "bundles" / f"digits-{version}.edgemodel"

    @property
    def repo(self) -> Path:
        return self.out / "repository"

    @property
    def broker(self) -> str:
        return f"127.0.0.1:{self.broker_port}"

    def title(self, number: int, text: str) -> None:
        print(f"\n[{number}/7  {time.monotonic() - self.began_s:4.0f} s]  {text}", flush=True)

    def note(self, what: str, result: str) -> None:
        self.rows.append((what, result))
        print(f"  -> {what}: {result}", flush=True)


def convert(story: Story) -> None:
    story.title(1, "Convert the trained model for the board: float ONNX in, proven int8 bundle out")
    story.bundle("x").parent.mkdir(parents=True)
    for version, model in (("1.0.0", "digits_v1.onnx"), ("2.0.0", "digits_v2.onnx")):
        report = build_digits(model, version, story.bundle(version))
        story.note(f"digits {version}", against_original(report))


def start(story: Story) -> None:
    story.title(2, "Start a broker, a signed model repository and two devices")
    story.broker_port, story.repo_port = free_port(), free_port()
    kind = start_broker(story.household, story.broker_port)
    run_tool("edge-fleet", "init", story.repo)
    run_tool("edge-fleet", "publish", story.bundle("1.0.0"), "--repo", story.repo)
    start_repository(story.household, story.repo, story.repo_port)
    for number, profile in enumerate(PROFILES, 1):
        device = Device(f"press-{number}", profile, story.out / f"press-{number}")
        device.prepare(
            bundle=story.bundle("1.0.0"),
            samples=DIGITS / "digits.npz",
            root=story.repo / "public" / "root.json",
            broker_port=story.broker_port,
            repo_port=story.repo_port,
        )
        began = time.monotonic()
        device.start(story.household)
        device.wait_answers(story.household, 1, timeout_s=30)
        print(f"  {device.name} ({device.profile}): first answer {time.monotonic() - began:.2f} s after start")
        story.devices.append(device)
    story.note("broker", kind)


def watch(story: Story, seconds: int) -> None:
    story.title(3, f"Watch {seconds} s of telemetry as it arrives over MQTT")
    run_live("edge-fleet", "watch", "--broker", story.broker, "--seconds", str(seconds))


def update(story: Story) -> None:
    story.title(4, "Version 2 over the air to both, inference running throughout")
    run_tool("edge-fleet", "publish", story.bundle("2.0.0"), "--repo", story.repo)
    before = {d.name: d.ledger().answered for d in story.devices}
    began = time.monotonic()
    run_live("edge-fleet", "deploy", "digits@2.0.0", "--to", "all", "--broker", story.broker)
    took = time.monotonic() - began
    for device in story.devices:
        device.wait_answers(story.household, 1, version="2.0.0", timeout_s=10)
        ledger = device.ledger()
        if ledger.missing or ledger.repeated:
            raise StepFailed(f"{device.name}: {ledger.missing} samples without an answer, {ledger.repeated} answered twice")
        story.note(
            f"{device.name} updated under load",
            f"{ledger.answered - before[device.name]} samples answered meanwhile, 0 lost, 0 twice, "
            f"longest pause between two answers {ledger.slowest_gap_ms:.0f} ms",
        )
    story.note("deploy command to committed on both", f"{took:.1f} s (3 s of it probation)")


def refuse(story: Story) -> None:
    story.title(5, "Version 3 is signed and whole, but gives wrong answers: the devices must refuse it")
    swap_labels_in_model(story.bundle("2.0.0"), story.bundle("3.0.0"), version="3.0.0")
    run_tool("edge-fleet", "publish", story.bundle("3.0.0"), "--repo", story.repo)
    run_live("edge-fleet", "deploy", "digits@3.0.0", "--to", "all", "--broker", story.broker, expect=1)
    told = {one["device"]: one for one in json.loads(run_tool("edge-fleet", "rollouts", "--json", show=False))[0]["outcomes"]}
    for device in story.devices:
        version, outcome = device.version(), told[device.name]
        if version != "2.0.0" or "3.0.0" in device.ledger().by_version or outcome["phase"] != "refused":
            raise StepFailed(f"{device.name} serves {version} after 3.0.0 was {outcome['phase']}: {outcome['reason']}")
        story.note(f"{device.name} refused 3.0.0", f"still serves 2.0.0; {outcome['reason']}")


def kill(story: Story) -> None:
    story.title(6, "Kill the model worker with SIGKILL under load")
    for device in story.devices:
        pid = device.pid_of("worker:")
        answered = device.ledger().answered
        os.kill(pid, signal.SIGKILL)
        device.wait_answers(story.household, answered + RATE_HZ, timeout_s=15)
        ledger = device.ledger(pauses_since=answered - 1)
        if ledger.missing or ledger.repeated:
            raise StepFailed(f"{device.name}: {ledger.missing} samples lost, {ledger.repeated} answered twice after the kill")
        story.note(
            f"{device.name} worker {pid} killed",
            f"answers went on {ledger.slowest_gap_ms:.0f} ms apart at most (10 ms is usual), 0 samples lost",
        )


def finish(story: Story) -> None:
    story.title(7, "End everything")
    ledgers = {d.name: d.ledger() for d in story.devices}
    left = story.household.end_all()
    if left:
        raise StepFailed(f"processes left running: {', '.join(left)}")
    for device in story.devices:
        ledger = ledgers[device.name]
        right = 100 * ledger.correct / max(1, ledger.labelled)
        story.note(
            f"{device.name} in all",
            f"{ledger.answered} samples answered, {ledger.missing} lost; {right:.1f} % right, training images included",
        )
    story.note("processes left running", "none")


def table(story: Story) -> None:
    width = max(len(what) for what, _ in story.rows)
    rule = "-" * WIDTH
    print(f"\nSummary\n{rule}")
    for what, result in story.rows:
        first, *others = textwrap.wrap(result, WIDTH - width - 2)
        print("\n".join([f"{what:{width}}  {first}", *(" " * (width + 2) + line for line in others)]))
    print(f"{rule}\n{'time':{width}}  {time.monotonic() - story.began_s:.0f} s")
    places = {"reports": "bundles/*.report.html", "bundles": "bundles/", "logs": "logs/", "devices": "press-*/"}
    here = Path.cwd()
    for what, place in places.items():
        print(f"{what:{width}}  {story.out.relative_to(here) if story.out.is_relative_to(here) else story.out}/{place}")


def _end_like_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run the story; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder for everything it makes (emptied first)")
    parser.add_argument("--watch-seconds", type=int, default=8, help="how long step 3 shows telemetry")
    args = parser.parse_args()
    out = args.out.resolve()
    if out.exists() and not (out / ".edge-demo").exists() and (not out.is_dir() or any(out.iterdir())):
        print(
            f"demo: {out} is not a folder of this demonstration; it is left alone. Move it away, or: python -m examples.demo --out FOLDER",
            file=sys.stderr,
        )
        return 2
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / ".edge-demo").touch()
    os.environ["XDG_STATE_HOME"] = str(out / "fleet")  # the history of this fleet is none of the user's
    for word in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(word) is signal.SIG_DFL:  # not under nohup
            signal.signal(word, _end_like_interrupt)  # whoever ends us must not leave two devices running
    story = Story(out, Household(out))
    try:
        convert(story)
        start(story)
        watch(story, args.watch_seconds)
        update(story)
        refuse(story)
        kill(story)
        finish(story)
    except (StepFailed, subprocess.TimeoutExpired) as error:
        print(f"\ndemo FAILED: {error}\nlogs: {out}/logs", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    finally:
        for word in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(word, signal.SIG_IGN)  # whoever asks twice must not get processes left behind
        story.household.end_all()
    table(story)
    return 0


if __name__ == "__main__":
    sys.exit(main())
