"""What the acts of an update work with, and the value each of them ends in."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Protocol

from edge_agent.clock import Clock
from edge_agent.ports import Fetcher, ModelHost, Store
from edge_agent.update.health import Limits
from edge_agent.update.interrupt import Interrupt
from edge_agent.update.machine import Outcome, UpdateRecord
from edge_agent.update.policy import RetryPlan, expired

POLL_S = 0.5
"""How often a model on probation is looked at."""

_PROGRESS_BYTES = 64 * 1024


class UpdateStore(Store, Protocol):
    """What an update needs of the store beyond serving from it; see ``store.FileStore``."""

    def set_active(self, model: str, digest: str, *, forget: str = "") -> None: ...

    def healthy(self, digest: str) -> bool: ...

    def servable(self, model: str, *, but: str = "") -> str: ...

    def collect(self, keep: Set[str] = frozenset()) -> tuple[str, ...]: ...

    def drop_transfers(self) -> None: ...


class HookOutcome(Protocol):
    """How a lifecycle script ended; ``ok`` also when there was none."""

    @property
    def ok(self) -> bool: ...

    @property
    def output(self) -> str: ...


RunHook = Callable[[str, Mapping[str, str]], HookOutcome]


@dataclass(frozen=True, slots=True)
class Ended:
    """How an act ended. ``result`` is the final word where the update rests afterwards; ``digest`` what FETCHING found."""

    outcome: Outcome
    reason: str = ""
    result: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Tools:
    """All the acts work with. ``watch_s`` is the probation where a command names none, ``poll_s`` how often it is looked at;
    ``made_progress`` is called when a transfer got further than the interruption before it."""

    store: UpdateStore
    fetcher: Fetcher
    host: ModelHost
    clock: Clock
    hooks: RunHook
    interrupt: Interrupt
    made_progress: Callable[[], None]
    watch_s: float
    poll_s: float
    retry: RetryPlan = field(default_factory=RetryPlan)
    limits: Limits = field(default_factory=Limits)
    chance: random.Random = field(default_factory=random.Random)


class Progress:
    """Hears how a transfer goes on; ends it when it is no longer wanted."""

    def __init__(self, record: UpdateRecord, tools: Tools) -> None:
        self._record = record
        self._tools = tools
        self._first: int | None = None
        self._best = self._marked = 0
        self._told = False

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        command = self._record.command
        if self._tools.interrupt.wanted or (command and expired(command, self._tools.clock.wall_ns())):
            self._tools.fetcher.cancel()
        if self._first is None:
            self._first = done_bytes
        self._best = max(self._best, done_bytes)
        if not self._told and (done_bytes >= total_bytes or done_bytes - self._first >= _PROGRESS_BYTES):
            self._told = True
            self._tools.made_progress()

    def moved(self) -> bool:
        """Whether the transfer got further than when this was asked last."""
        moved = self._best > self._marked
        self._marked = self._best
        return moved
