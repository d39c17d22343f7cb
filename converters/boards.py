"""Board profiles for people and programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from device_profiles.load import load_profile, names
from device_profiles.schema import DeviceProfile, RuntimeLimits


def as_json(board: DeviceProfile) -> dict[str, Any]:
    """All of a profile."""
    # A read-only mapping cannot be copied by asdict, hence field by field.
    tree = {name: getattr(board, name) for name in board.__dataclass_fields__}
    tree["runtimes"] = {name: asdict(limits) for name, limits in board.runtimes.items()}
    tree["budget"], tree["thermal"] = asdict(board.budget), asdict(board.thermal)
    return tree


def describe_all(boards: Sequence[DeviceProfile]) -> str:
    """One line each."""
    lines = [f"{'NAME':17}{'ARCH':8}{'CORES':>5}{'RAM':>10}  {'FIRST CHOICE':13}{'TITLE'}"]
    lines += [f"{b.name:17}{b.arch:8}{b.cores:>5}{f'{b.ram_mib} MiB':>10}  {b.schemes[0]:13}{b.title}" for b in boards]
    return "\n".join(lines)


def describe_one(board: DeviceProfile) -> str:
    """One board in full."""
    return "\n".join(
        [
            f"{board.name}: {board.title}",
            f"  processor    {board.cores} x {board.cpu} ({board.arch}; {', '.join(board.features) or 'no features promised'})",
            f"  memory       {board.ram_mib} MiB in the smallest board of the name",
            *(f"  {name:12} {_limits(limits)}" for name, limits in board.runtimes.items()),
            f"  schemes      {', '.join(board.schemes)} (best first)",
            f"  budget       {board.budget.size_mib:g} MiB bundle, {board.budget.latency_ms:g} ms, {board.budget.memory_mib:g} MiB memory",
            f"  thermal      slows down at {board.thermal.soft_c:g} °C, limit {board.thermal.limit_c:g} °C",
            f"  accelerators {', '.join(board.accelerators) or 'none'}",
        ]
    )


def _limits(limits: RuntimeLimits) -> str:
    parts = [limits.library]
    if limits.minimum:
        parts.append(f"{limits.minimum} or newer")
    if limits.below:
        parts.append(f"below {limits.below}")
    if limits.excluded:
        parts.append(f"not {', '.join(limits.excluded)}")
    if limits.prove:
        parts.append(f"models are proven in {', '.join(limits.prove)}")
    return ", ".join(parts)


def boards_that_prove(library: str, version: str) -> str:
    """The known boards whose profiles want models proven in this version, for people to read."""
    boards = [load_profile(name) for name in names()]
    return ", ".join(b.name for b in boards if any(r.library == library and version in r.prove for r in b.runtimes.values()))
