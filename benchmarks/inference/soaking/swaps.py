"""Which version may answer when: every update that was ordered, what came of it, and what serves since."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.inference.soaking.house import MODEL, House, until
from benchmarks.inference.soaking.numbered import numbered_bundle
from edge_agent.errors import AgentUnreachable, EdgeError

RESTING = ("IDLE", "BROKEN")
SETTLE_S = 60.0


@dataclass(slots=True)
class Update:
    """From ``before`` to ``wanted``, ordered at ``begun_ns``; ``after`` serves since ``ended_ns`` (0: under way)."""

    begun_ns: int
    before: str
    wanted: str
    ended_ns: int = 0
    after: str = ""
    outcome: str = ""
    reason: str = ""


class Swaps:
    """Installs and rollbacks, one at a time. Any thread may ask what was allowed."""

    def __init__(self, house: House) -> None:
        self.updates: list[Update] = []
        self.version = "1.0.1"
        self.violations: list[str] = []
        self._house = house
        self._seed = 1
        self._lock = threading.Lock()

    def install(self) -> Update:
        """A version that never was."""
        self._seed += 1
        path = numbered_bundle(self._house.folder / "next.edgemodel", self._seed, MODEL)
        return self._carry_out(f"1.0.{self._seed}", {"call": "install", "name": path.name}, path)

    def rollback(self) -> Update | None:
        """To the version before; ``None`` where there is none to go back to."""
        wanted = self._previous()
        return self._carry_out(wanted, {"call": "rollback", "model": MODEL}, None) if wanted else None

    def allowed(self, since_ns: int, until_ns: int) -> set[str]:
        """The versions of which one may have answered between two moments (monotonic ns)."""
        with self._lock:
            found = {self.updates[0].before if self.updates else self.version}
            for update in self.updates:
                if update.begun_ns > until_ns:
                    break
                ended = update.ended_ns and update.ended_ns <= since_ns
                found = {update.after} if ended else found | {update.before, update.wanted, update.after} - {""}
            return found

    def under_way(self) -> bool:
        with self._lock:
            return bool(self.updates) and not self.updates[-1].ended_ns

    def _previous(self) -> str:
        status = self._house.status()
        models: list[dict[str, Any]] = status["models"] if status else []
        entry: dict[str, Any] = next((m for m in models if m["name"] == MODEL), {})
        return str((entry.get("previous") or {}).get("version", ""))

    def _carry_out(self, wanted: str, order: dict[str, Any], attach: Any) -> Update:
        update = Update(time.monotonic_ns(), self.version, wanted)
        with self._lock:
            self.updates.append(update)
        try:
            answer = self._house.call(order, attach=attach)
            outcome, reason = str(answer["status"]), str(answer["reason"])
        except AgentUnreachable as error:  # the agent was killed meanwhile: it goes on with the update, or goes back
            outcome, reason = "cut", str(error)
        except EdgeError as error:
            outcome, reason = "error", str(error)
        after = self._settled()
        with self._lock:
            update.outcome, update.reason, update.after, update.ended_ns = outcome, reason, after, time.monotonic_ns()
            self.version = after
        if (outcome == "done") != (after == wanted) and outcome != "cut":
            self.violations.append(f"the update to {wanted} is said to be {outcome} ({reason}), and {after} serves")
        if after not in (update.before, wanted):
            self.violations.append(f"an update from {update.before} to {wanted} led to {after}")
        return update

    def _settled(self) -> str:
        """The version that serves once the update is at rest."""
        found = ""

        def rests() -> bool:
            nonlocal found
            status = self._house.status()
            if status is None or status["update"]["state"] not in RESTING:
                return False
            entry = next((m for m in status["models"] if m["name"] == MODEL), None)
            found = str(entry["version"]) if entry and entry["state"] in ("serving", "restarting", "starting") else ""
            return bool(found)

        if not until(rests, SETTLE_S, 0.2):
            self.violations.append(f"an update was not at rest {SETTLE_S:g} s after its end: {self._house.status()}"[:1500])
        return found or self.version


class Swapper(threading.Thread):
    """Orders an update every so often, until told to stop."""

    def __init__(self, swaps: Swaps, every_s: float) -> None:
        super().__init__(name="swapper", daemon=True)
        self.swaps = swaps
        self.errors: list[str] = []
        self._every_s = every_s
        self._halt = threading.Event()

    def halt(self) -> None:
        self._halt.set()
        self.join(2 * SETTLE_S)

    def run(self) -> None:
        turn = 0
        while not self._halt.wait(self._every_s):
            turn += 1
            try:
                if turn % 3 or self.swaps.rollback() is None:
                    self.swaps.install()
            except Exception as error:  # the soak goes on, and says so in the end
                self.errors.append(f"{type(error).__name__}: {error}")
