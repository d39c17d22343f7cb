"""Wall time from the deploy command to the new version's first answer, at 100 Hz, and what it cost in samples."""

from __future__ import annotations

import subprocess
import time

from benchmarks.stage import standing
from examples.demo.processes import BIN, wait_until


def deploy() -> dict[str, object]:
    """Seconds until the first answer of the new version and until the command reports it committed; samples lost meanwhile."""
    with standing(100.0, "2.0.0") as stage:
        began = time.monotonic()
        command = [
            str(BIN / "edge-fleet"),
            "deploy",
            "digits@2.0.0",
            "--to",
            "all",
            "--broker",
            stage.broker,
            "--state",
            str(stage.folder / "fleet"),
        ]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as fleet:
            wait_until(lambda: "2.0.0" in stage.device.ledger().by_version, 60, "version 2.0.0 answers", stage.household)
            serving_s = time.monotonic() - began
            if fleet.wait(timeout=60) != 0:
                raise SystemExit("the deploy command failed")
        ledger = stage.device.ledger()
        return {
            "serving_s": round(serving_s, 2),
            "committed_s": round(time.monotonic() - began, 2),
            "watch_s": 3.0,
            "samples_lost": ledger.missing,
            "samples_twice": ledger.repeated,
            "longest_pause_ms": round(ledger.slowest_gap_ms, 1),
        }


def lines(figures: dict[str, object]) -> list[str]:
    return [
        f"  deploy command to first answer of the new version  {figures['serving_s']} s",
        f"  to committed and reported ({figures['watch_s']} s of it probation)   {figures['committed_s']} s",
        f"  samples lost {figures['samples_lost']}, answered twice {figures['samples_twice']}",
        f"  longest pause between two answers {figures['longest_pause_ms']} ms (at 100 Hz: 10 ms apart)",
    ]
