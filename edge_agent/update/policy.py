"""Which updates are admitted, and how long to wait before trying again. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass

from edge_agent.bundle.manifest import Manifest
from edge_agent.update.machine import RESTING, UpdateCommand, UpdateRecord

SOURCES = ("repository", "file", "store")

REPORTED = "reported "
"""What stands before the result of a record whose result was handed over; until then a finished update is still pending."""


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """How a broken transfer is tried again: ``attempts`` times without a new byte, with pauses growing from ``first_s`` to ``cap_s``."""

    attempts: int = 8
    first_s: float = 1.0
    cap_s: float = 300.0


def admit(command: UpdateCommand, record: UpdateRecord, *, now_ns: int, quarantined: str = "") -> tuple[str, ...]:
    """Every reason to refuse ``command``; empty when it is admitted.

    ``record`` is the update in progress or the last one, ``now_ns`` wall time, ``quarantined`` why the digest it names is banned.
    """
    reasons = []
    if record.state not in RESTING or pending(record):
        other = record.command
        what = f" of {other.model} to {other.version} ({other.command_id})" if other else ""
        reasons.append(f"another update{what} is {record.state.value}; wait for its end")
    if command.source not in SOURCES:
        reasons.append(f"source {command.source!r} is not one of {', '.join(SOURCES)}")
    if expired(command, now_ns):
        reasons.append("the command's deadline has passed")
    if quarantined:
        reasons.append(f"{command.model}@{command.version} ({command.digest[:12]}) is quarantined on this device: {quarantined}")
    return tuple(reasons)


def pending(record: UpdateRecord) -> bool:
    """Whether ``record`` is at rest with a result that nobody has been told yet."""
    return record.state in RESTING and record.command is not None and not record.result.startswith(REPORTED)


def expired(command: UpdateCommand, now_ns: int) -> bool:
    """Whether the deadline has passed at wall time ``now_ns``."""
    return 0 < command.deadline_ns <= now_ns


def already_active(command: UpdateCommand, manifest: Manifest | None, digest: str) -> bool:
    """Whether what ``command`` wishes for is what serves: same version, and same digest where the command names one.

    A local file is always looked at: its name and version may be those of the served model and its bytes others.
    """
    if manifest is None or command.source == "file":
        return False
    if command.digest:
        return command.digest == digest
    return (manifest.name, manifest.version) == (command.model, command.version)


def retry_delay_s(plan: RetryPlan, attempt: int, chance: random.Random) -> float | None:
    """Seconds to wait before the next try after ``attempt`` (1, 2, ...) failed, or ``None`` to give up.

    Capped exponential back-off with full jitter, so that a fleet that lost its server at one moment does not come back at one moment
    (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """
    if attempt >= plan.attempts:
        return None
    ceiling_s = min(plan.cap_s, plan.first_s * 2.0 ** min(attempt - 1, 30))
    return chance.uniform(0.0, ceiling_s)
