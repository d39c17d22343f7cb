"""A broker, a repository and one device in a temporary folder, for the figures that need the whole product."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from examples.demo.devices import DIGITS, Device, build_digits
from examples.demo.processes import Household, free_port, run_tool, start_broker, start_repository, wait_until


@dataclass(frozen=True, slots=True)
class Stage:
    """What stands while the figure is taken."""

    folder: Path
    household: Household
    device: Device
    broker: str
    repo: Path


@contextmanager
def standing(rate_hz: float, *versions: str) -> Iterator[Stage]:
    """The stage with digits 1.0.0 serving at ``rate_hz``; ``versions`` are published besides. Everything ends with the block."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        folder = Path(name)
        household = Household(folder)
        try:
            yield _raise(folder, household, rate_hz, versions)
        finally:
            household.end_all()


def _raise(folder: Path, household: Household, rate_hz: float, versions: tuple[str, ...]) -> Stage:
    broker_port, repo_port = free_port(), free_port()
    repo = folder / "repository"
    start_broker(household, broker_port)
    run_tool("edge-fleet", "init", repo, show=False)
    for version in ("1.0.0", *versions):
        bundle = folder / f"digits-{version}.edgemodel"
        build_digits("digits_v1.onnx" if version == "1.0.0" else "digits_v2.onnx", version, bundle, show=False)
        run_tool("edge-fleet", "publish", bundle, "--repo", repo, show=False)
    start_repository(household, repo, repo_port)
    device = Device("bench-1", "rpi4", folder / "bench-1", rate_hz)
    device.prepare(
        bundle=folder / "digits-1.0.0.edgemodel",
        samples=DIGITS / "digits.npz",
        root=repo / "public" / "root.json",
        broker_port=broker_port,
        repo_port=repo_port,
    )
    device.start(household)
    wait_until(lambda: device.ledger().answered > 0, 30, "the device answers", household)
    return Stage(folder, household, device, f"127.0.0.1:{broker_port}", repo)
