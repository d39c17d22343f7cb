"""What the boards named by the user allow and prefer, as one goal."""

from __future__ import annotations

from dataclasses import dataclass

from converters.errors import InputError
from device_profiles.budget import Budget
from device_profiles.load import load_profile
from device_profiles.schema import DeviceProfile, ProfileError
from device_profiles.versions import parse_version
from edge_agent.bundle.manifest import RuntimeRequirement


@dataclass(frozen=True, slots=True)
class Goal:
    """A bundle for all of ``profiles``: ``schemes`` (``<runtime>-<precision>``) that every one of them allows, in the first one's order;
    ``runtimes`` with the strictest limits; the smallest ``budget``; and what a model must be proven in besides the newest:
    (runtime, library, version), sorted."""

    profiles: tuple[str, ...]
    arch: tuple[str, ...]
    schemes: tuple[str, ...]
    runtimes: dict[str, RuntimeRequirement]
    budget: Budget
    prove: tuple[tuple[str, str, str], ...] = ()


def goal_for(names: tuple[str, ...]) -> Goal:
    """The goal of a build for the boards ``names``. Raises :class:`InputError` for an unknown board, or boards that share no scheme."""
    try:
        boards = [load_profile(name) for name in dict.fromkeys(names)]
    except ProfileError as error:
        raise InputError(str(error)) from None
    schemes = tuple(scheme for scheme in boards[0].schemes if all(scheme in board.schemes for board in boards))
    if not schemes:
        raise InputError(f"the profiles {', '.join(b.name for b in boards)} share no scheme; build one bundle for each")
    budgets = [board.budget for board in boards]
    return Goal(
        profiles=tuple(board.name for board in boards),
        arch=tuple(sorted({board.arch for board in boards})),
        schemes=schemes,
        runtimes={name: _strictest(name, boards) for name in boards[0].runtimes if all(name in board.runtimes for board in boards)},
        budget=Budget(
            size_mib=min(b.size_mib for b in budgets),
            latency_ms=min(b.latency_ms for b in budgets),
            memory_mib=min(b.memory_mib for b in budgets),
        ),
        prove=tuple(sorted({entry for board in boards for entry in _proofs_of(board)})),
    )


def _proofs_of(board: DeviceProfile) -> list[tuple[str, str, str]]:
    return [(name, limits.library, version) for name, limits in board.runtimes.items() for version in limits.prove]


def _strictest(runtime: str, boards: list[DeviceProfile]) -> RuntimeRequirement:
    limits = [board.runtimes[runtime] for board in boards]
    minimum = max((limit.minimum for limit in limits if limit.minimum), key=parse_version, default="")
    # Libraries of one runtime are numbered apart (tflite-runtime 2.14, ai-edge-litert 2.1): a minimum is a promise only within one.
    if len({limit.library for limit in limits}) > 1:
        minimum = min((limit.minimum for limit in limits if limit.minimum), key=parse_version, default="")
    return RuntimeRequirement(runtime, minimum, tuple(sorted({bad for limit in limits for bad in limit.excluded})))
