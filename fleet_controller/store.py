"""What the controller remembers: rollouts, their results, and what devices last said of themselves. One SQLite file.

Nothing here is needed to reach a device; it is history, and the reason why a result may be acknowledged: it has been written down.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.clock import Clock, iso_utc
from edge_agent.errors import CommandError, StoreError
from edge_agent.protocol.codec import decode, encode
from edge_agent.protocol.messages import FINAL_STATUSES, CommandMessage, StatusMessage
from fleet_controller.rollout import Rollout, Target

FILE_NAME = "fleet.sqlite3"
SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE rollouts (id TEXT PRIMARY KEY, fleet TEXT NOT NULL, kind TEXT NOT NULL, args TEXT NOT NULL, selector TEXT NOT NULL,
                       started TEXT NOT NULL, expires TEXT NOT NULL);
CREATE TABLE results (rollout TEXT NOT NULL REFERENCES rollouts(id), device TEXT NOT NULL, phase TEXT NOT NULL, from_version TEXT NOT NULL,
                      to_version TEXT NOT NULL, reason TEXT NOT NULL, seconds REAL, t TEXT NOT NULL, PRIMARY KEY (rollout, device));
CREATE TABLE statuses (fleet TEXT NOT NULL, device TEXT NOT NULL, payload BLOB NOT NULL, t TEXT NOT NULL, PRIMARY KEY (fleet, device));
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One device's line of a past rollout."""

    device: str
    phase: str
    from_version: str
    to_version: str
    reason: str
    seconds: float | None
    t: str


@dataclass(frozen=True, slots=True)
class PastRollout:
    """A rollout as it was written down. ``fleet`` is the broker's address and topic prefix."""

    id: str
    fleet: str
    kind: str
    args: Mapping[str, Any]
    selector: str
    started: str
    expires: str
    outcomes: tuple[Outcome, ...]


def default_state_dir() -> Path:
    """``$XDG_STATE_HOME/edge-fleet``, else ``~/.local/state/edge-fleet`` (XDG Base Directory Specification 0.8)."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "state") / "edge-fleet"


class FleetStore:
    """Opens or makes the file in ``folder``. Every method raises :class:`StoreError`; for one thread."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._path = folder / FILE_NAME
        self._clock = clock
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(f"{folder}: cannot make the state folder: {error.strerror}; choose another by --state") from None
        with self._errors():
            self._db = sqlite3.connect(self._path, timeout=5.0)
            self._migrate()

    def close(self) -> None:
        self._db.close()

    def begin(self, command: CommandMessage, *, fleet: str, selector: str) -> None:
        """Write a rollout down before anything is sent. An id that is known already is the same rollout, resumed."""
        row = (command.id, fleet, command.kind, json.dumps(dict(command.args)), selector, self._now(), command.expires)
        with self._errors(), self._db:
            self._db.execute("INSERT OR IGNORE INTO rollouts VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def record(self, rollout: Rollout, target: Target) -> None:
        """Write down where ``target`` is now."""
        seconds = None if target.ended_ns is None else (target.ended_ns - rollout.start_ns) / 1e9
        self._put(rollout.command.id, target.device, target.phase.value, target.reason, seconds, target.from_version, target.to_version)

    def record_late(self, rollout: str, device: str, phase: str, reason: str) -> bool:
        """A final result nobody waits for any more; false when the rollout is not one of ours. A final phase stays as it is."""
        with self._errors():
            known = self._db.execute("SELECT 1 FROM rollouts WHERE id = ?", (rollout,)).fetchone()
            query = "SELECT phase, from_version, to_version FROM results WHERE rollout = ? AND device = ?"
            old = self._db.execute(query, (rollout, device)).fetchone() or ("", "", "")
        if known is not None and old[0] not in FINAL_STATUSES:
            self._put(rollout, device, phase, reason, None, old[1], old[2])
        return known is not None

    def remember(self, fleet: str, statuses: Iterable[StatusMessage]) -> None:
        """Keep what devices say of themselves, for when only their last will is left."""
        rows = [(fleet, status.device, encode(status), self._now()) for status in statuses]
        with self._errors(), self._db:
            self._db.executemany("INSERT OR REPLACE INTO statuses VALUES (?, ?, ?, ?)", rows)

    def remembered(self, fleet: str) -> dict[str, StatusMessage]:
        """The last status of every device ever seen in ``fleet``."""
        with self._errors():
            rows = self._db.execute("SELECT device, payload FROM statuses WHERE fleet = ?", (fleet,)).fetchall()
        found = {}
        for device, payload in rows:
            try:
                found[device] = decode(StatusMessage, payload)
            except CommandError:
                continue  # written by another version: the device will tell again
        return found

    def rollouts(self, *, limit: int = 20, rollout: str | None = None) -> tuple[PastRollout, ...]:
        """The newest first; only ``rollout`` when it is given."""
        where, args = ("", ()) if rollout is None else (" WHERE id = ?", (rollout,))
        query = f"SELECT id, fleet, kind, args, selector, started, expires FROM rollouts{where} ORDER BY started DESC, rowid DESC LIMIT ?"
        with self._errors():
            rows = self._db.execute(query, (*args, limit)).fetchall()
            return tuple(self._past(row) for row in rows)

    def _past(self, row: tuple[Any, ...]) -> PastRollout:
        columns = "device, phase, from_version, to_version, reason, seconds, t"
        results = self._db.execute(f"SELECT {columns} FROM results WHERE rollout = ? ORDER BY device", (row[0],)).fetchall()
        return PastRollout(row[0], row[1], row[2], json.loads(row[3]), row[4], row[5], row[6], tuple(Outcome(*r) for r in results))

    def _put(self, rollout: str, device: str, phase: str, reason: str, seconds: float | None, from_version: str, to_version: str) -> None:
        row = (rollout, device, phase, from_version, to_version, reason, seconds, self._now())
        with self._errors(), self._db:
            self._db.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def _migrate(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            raise StoreError(f"{self._path}: written by another version of edge-fleet (schema {version}); choose another folder by --state")

    def _now(self) -> str:
        return iso_utc(self._clock.wall_ns())

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}; repair or remove it, or choose another folder by --state") from error
