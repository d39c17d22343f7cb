"""Looks at the device twice a second: accounting in every status, and what its processes hold."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.inference.processes import PROC, pss_kib
from benchmarks.inference.soaking.house import House

LOOK_S = 0.5
HOLD_EVERY_S = 5.0
ZOMBIE_S = 10.0
BROKEN = ("internal_error", "api_error", "Traceback", "did not end well", "pipeline_failed", "api_failed", "message_unsendable")


@dataclass(slots=True)
class Life:
    """A pipeline's process as its statuses told of it."""

    pipeline: str
    pid: int
    first_ns: int
    last_ns: int
    counters: dict[str, int]
    sinks: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Holding:
    """At one moment: MiB by role, and of all processes together: how many, zombies, descriptors, memory files."""

    at_s: float
    start: int
    mib: dict[str, float]
    processes: int
    descriptors: dict[str, int]
    memory_files: dict[str, int]


class Watch(threading.Thread):
    """``roles`` are as the last status told them."""

    def __init__(self, house: House) -> None:
        super().__init__(name="watch", daemon=True)
        self.lives: dict[tuple[str, int], Life] = {}
        self.holdings: list[Holding] = []
        self.violations: list[str] = []
        self.statuses = 0
        self.unanswered = 0
        self.dropped_outbox: dict[int, int] = {}
        self.outbox_most = 0
        self._house = house
        self._halt = threading.Event()
        self._gate = threading.RLock()
        self._roles: list[tuple[str, int]] = []
        self._zombies: dict[int, float] = {}
        self._told_zombies: set[int] = set()
        self._held_s = 0.0
        self.hangs: list[tuple[int, str]] = []
        self._log_at = 0
        self._began_s = time.monotonic()

    def processes(self) -> list[tuple[str, int]]:
        return list(self._roles)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While the agent is meant to be gone."""
        with self._gate:
            self._roles = []
            yield

    def halt(self) -> None:
        self._halt.set()
        self.join(30.0)
        self.read_log()

    def run(self) -> None:
        while not self._halt.wait(LOOK_S):
            with self._gate:
                try:
                    self.look()
                except Exception as error:  # the soak goes on, and says so in the end
                    self.violations.append(f"the watch stumbled: {type(error).__name__}: {error}")

    def look(self) -> dict[str, Any] | None:
        """One status, taken to the books."""
        asked_ns = time.monotonic_ns()
        status = self._house.status()
        if status is None:
            self.unanswered += 1
            if self._house.process.poll() is not None:
                self.violations.append(f"the agent ended by itself with {self._house.process.returncode}")
                self._halt.set()
            return None
        self.statuses += 1
        self._roles = [(p["role"], int(p["pid"])) for p in status["processes"] if p["pid"]]
        self.dropped_outbox[self._house.starts] = int(status["outbox"]["dropped"])
        self.outbox_most = max(self.outbox_most, int(status["outbox"]["queued"]))
        for pipeline in status["pipelines"]:
            self._account(pipeline, asked_ns)
        if time.monotonic() - self._held_s > HOLD_EVERY_S:
            self._held_s = time.monotonic()
            self._hold()
            self.read_log()
        return status

    def _account(self, pipeline: dict[str, Any], at_ns: int) -> None:
        name, counters = pipeline["name"], pipeline["counters"]
        if counters["produced"] != sum(counters[key] for key in ("processed", "dropped", "failed", "in_flight")):
            self.violations.append(f"{name}: produced is not processed + dropped + failed + in flight: {counters}")
        if min(counters.values()) < 0:
            self.violations.append(f"{name}: a negative count: {counters}")
        for sink, counts in pipeline["sinks"].items():
            if counts["given"] != sum(counts[key] for key in ("emitted", "dropped", "failed", "waiting")):
                self.violations.append(f"{sink}: given is not emitted + dropped + failed + waiting: {counts}")
        if pipeline["state"] == "failed":
            self.violations.append(f"{name} has failed: {pipeline['last_error']}")
        pid = pipeline["pid"]
        if pid is None or not counters["produced"]:
            return
        life = self.lives.setdefault((name, pid), Life(name, pid, at_ns, at_ns, counters))
        if any(counters[key] < life.counters[key] for key in ("produced", "processed", "dropped", "failed")):
            self.violations.append(f"{name} ({pid}): a count went back: {life.counters}, {counters}")
        life.last_ns, life.counters, life.sinks = time.monotonic_ns(), counters, pipeline["sinks"]

    def _hold(self) -> None:
        mib: dict[str, float] = {}
        descriptors: dict[str, int] = {}
        memory: dict[str, int] = {}
        for role, pid in self._roles:
            kind = role.split("@")[0]
            mib[kind] = mib.get(kind, 0.0) + pss_kib(pid) / 1024
            links = _descriptors(pid)
            descriptors[kind] = len(links)
            memory[kind] = sum(link.startswith("/memfd:") for link in links)
        family = _family(self._house.process.pid)
        self._find_zombies(family)
        now_s = time.monotonic() - self._began_s
        self.holdings.append(Holding(now_s, self._house.starts, mib, len(family), descriptors, memory))

    def _find_zombies(self, family: dict[int, str]) -> None:
        now_s = time.monotonic()
        zombies = {pid for pid, state in family.items() if state == "Z"}
        self._zombies = {pid: self._zombies.get(pid, now_s) for pid in zombies}
        for pid, since_s in self._zombies.items():
            if now_s - since_s > ZOMBIE_S and pid not in self._told_zombies:
                self._told_zombies.add(pid)
                self.violations.append(f"process {pid} has been a zombie for {now_s - since_s:.0f} s")

    def read_log(self) -> None:
        """What the agent logged since the last look that must never be logged."""
        with self._house.log.open("rb") as log:
            log.seek(self._log_at)
            lines = log.read().split(b"\n")
        self._log_at += sum(len(line) + 1 for line in lines[:-1])
        texts = [line.decode(errors="replace") for line in lines[:-1]]
        self.hangs += [(_logged_ns(text), text) for text in texts if " worker_hung: " in text]
        self.violations += [f"the agent logged: {text[:400]}" for text in texts if any(word in text for word in BROKEN)]

    def steady(self, from_s: float, to_s: float, start: int) -> dict[str, Any]:
        """Medians over a while within one life of the agent."""
        found = [held for held in self.holdings if from_s <= held.at_s <= to_s and held.start == start]
        if not found:
            return {}
        return {
            "mib": _medians([held.mib for held in found]),
            "descriptors": _medians([held.descriptors for held in found]),
            "memory_files": _medians([held.memory_files for held in found]),
            "processes": statistics.median(held.processes for held in found),
        }


def _logged_ns(text: str) -> int:
    """When a line was logged, on the monotonic clock."""
    logged_s = time.mktime(time.strptime(text[:19], "%Y-%m-%d %H:%M:%S")) + int(text[20:23]) / 1000
    return int(logged_s * 1e9) - time.time_ns() + time.monotonic_ns()


def _medians(rows: list[dict[str, Any]]) -> dict[str, float]:
    names = sorted({name for row in rows for name in row})
    return {name: round(float(statistics.median(row[name] for row in rows if name in row)), 2) for name in names}


def _descriptors(pid: int) -> list[str]:
    found = []
    try:
        for entry in (PROC / str(pid) / "fd").iterdir():
            try:
                found.append(str(Path(entry).readlink()))
            except OSError:
                continue
    except OSError:
        return found
    return found


def _family(root: int) -> dict[int, str]:
    """Every process below ``root`` and itself, and its state; zombies too."""
    parents: dict[int, int] = {}
    states: dict[int, str] = {}
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry.name)], states[int(entry.name)] = int(fields[1]), fields[0]
    found = [root] if root in states else []
    for pid in found:
        found += [other for other, parent in parents.items() if parent == pid]
    return {pid: states[pid] for pid in found}
