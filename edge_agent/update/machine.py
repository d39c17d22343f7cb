"""The update, as one table of transitions and one table that says where to resume after power loss.

Nothing outside this file decides a transition. The journal is written and synced before the act of a state
begins, so the state on disk is always the state whose act may have been half done.

``WATCHING`` resumed more than :data:`MAX_ATTEMPTS` times rolls back: a model that takes the board down while it is
on probation is a model that failed probation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType

MAX_ATTEMPTS = 3
"""How often a state may be resumed after power loss before the update is given up."""


class State(str, Enum):
    """Where an update is."""

    IDLE = "IDLE"
    FETCHING = "FETCHING"
    VERIFYING = "VERIFYING"
    TRYING = "TRYING"
    ACTIVATING = "ACTIVATING"
    WATCHING = "WATCHING"
    ROLLING_BACK = "ROLLING_BACK"
    BROKEN = "BROKEN"


class Outcome(str, Enum):
    """How the act of a state ended."""

    ADMITTED = "ADMITTED"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


RESTING = frozenset({State.IDLE, State.BROKEN})
"""States without an act: the machine waits there for an admitted command."""

TRANSITIONS: Mapping[tuple[State, Outcome], State] = MappingProxyType(
    {
        (State.IDLE, Outcome.ADMITTED): State.FETCHING,
        (State.BROKEN, Outcome.ADMITTED): State.FETCHING,
        (State.FETCHING, Outcome.DONE): State.VERIFYING,
        (State.FETCHING, Outcome.FAILED): State.IDLE,
        (State.FETCHING, Outcome.CANCELLED): State.IDLE,
        (State.VERIFYING, Outcome.DONE): State.TRYING,
        (State.VERIFYING, Outcome.FAILED): State.IDLE,
        (State.VERIFYING, Outcome.CANCELLED): State.IDLE,
        (State.TRYING, Outcome.DONE): State.ACTIVATING,
        (State.TRYING, Outcome.FAILED): State.IDLE,
        (State.TRYING, Outcome.CANCELLED): State.IDLE,
        (State.ACTIVATING, Outcome.DONE): State.WATCHING,
        (State.ACTIVATING, Outcome.FAILED): State.ROLLING_BACK,
        (State.ACTIVATING, Outcome.CANCELLED): State.ROLLING_BACK,
        (State.WATCHING, Outcome.DONE): State.IDLE,
        (State.WATCHING, Outcome.FAILED): State.ROLLING_BACK,
        (State.WATCHING, Outcome.CANCELLED): State.ROLLING_BACK,
        (State.ROLLING_BACK, Outcome.DONE): State.IDLE,
        (State.ROLLING_BACK, Outcome.FAILED): State.BROKEN,
        (State.ROLLING_BACK, Outcome.CANCELLED): State.ROLLING_BACK,
    }
)

RESUME: Mapping[State, State] = MappingProxyType(
    {
        State.IDLE: State.IDLE,
        State.FETCHING: State.FETCHING,
        State.VERIFYING: State.VERIFYING,
        State.TRYING: State.IDLE,
        State.ACTIVATING: State.ROLLING_BACK,
        State.WATCHING: State.WATCHING,
        State.ROLLING_BACK: State.ROLLING_BACK,
        State.BROKEN: State.BROKEN,
    }
)

GIVE_UP: Mapping[State, State] = MappingProxyType(
    {
        State.FETCHING: State.IDLE,
        State.VERIFYING: State.IDLE,
        State.WATCHING: State.ROLLING_BACK,
        State.ROLLING_BACK: State.ROLLING_BACK,
    }
)
"""Where a state goes instead when it has been resumed more than :data:`MAX_ATTEMPTS` times."""


class IllegalTransition(ValueError):
    """An outcome that the state does not know."""


def step(state: State, outcome: Outcome) -> State:
    """The state after ``outcome``; raises :class:`IllegalTransition` where the table has no entry."""
    try:
        return TRANSITIONS[(state, outcome)]
    except KeyError:
        raise IllegalTransition(f"{state.value} has no transition for {outcome.value}") from None


@dataclass(frozen=True, slots=True)
class UpdateCommand:
    """A wish to make ``model``@``version`` the served one.

    ``source`` is ``repository`` (fetch the signed target), ``file`` (a local bundle at ``path``, installed by an operator
    on the device) or ``store`` (bytes that are already here: a rollback). ``digest`` is the sha256 the bundle must
    have when it is known beforehand, else empty. ``deadline_ns`` is wall time after which the command is dead; 0 is never.
    """

    command_id: str
    model: str
    version: str
    source: str = "repository"
    path: str = ""
    digest: str = ""
    deadline_ns: int = 0
    watch_s: float = 0.0


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """The journal's one record. ``previous`` is the digest that served when the update was admitted (empty: none).

    ``reason`` says why the last step failed; ``attempts`` counts resumptions of this state; ``since_ns`` is wall time.
    """

    state: State
    command: UpdateCommand | None = None
    attempts: int = 0
    digest: str = ""
    previous: str = ""
    reason: str = ""
    since_ns: int = 0
    result: str = ""


def advance(record: UpdateRecord, outcome: Outcome, *, now_ns: int, reason: str = "") -> UpdateRecord:
    """The record after ``outcome``: attempts start again, the first reason given is kept."""
    return replace(
        record,
        state=step(record.state, outcome),
        attempts=0,
        since_ns=now_ns,
        reason=record.reason or reason,
    )


def resume(record: UpdateRecord, *, now_ns: int) -> UpdateRecord:
    """The record to go on with after the process or the board died in ``record.state``."""
    if record.state in RESTING:
        return record
    target = RESUME[record.state]
    attempts = record.attempts + 1
    reason = record.reason
    if target is not record.state:
        reason = reason or f"power was lost or the agent died while {record.state.value}"
        return replace(record, state=target, attempts=0, since_ns=now_ns, reason=reason)
    if attempts > MAX_ATTEMPTS:
        reason = reason or f"gave up after {MAX_ATTEMPTS} interruptions while {record.state.value}"
        return replace(record, state=GIVE_UP[record.state], attempts=0, since_ns=now_ns, reason=reason)
    return replace(record, attempts=attempts, since_ns=now_ns)
