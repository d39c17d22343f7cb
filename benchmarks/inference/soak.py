"""One hour at 100 Hz in which something is harmed every few seconds, with nothing unaccounted for.

A real agent with three pipelines and its local API, a real broker, a sensor that numbers its readings. Processes are killed, crash, hang
and are frozen; versions are swapped and taken back; the sensor is unplugged, the broker is away or does not answer; now and then the whole
agent is killed and started again. In every status produced = processed + dropped + failed + in flight; every reading that was sent is
answered once, or counted, or was in a process that was killed; no version answers that does not serve; no answer is wrong; no request
fails that was not past its deadline or in a process that was killed; every prediction reaches a subscriber; memory, descriptors and
processes stay.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from benchmarks.convert.files import table
from benchmarks.inference.server import ServerFailed
from benchmarks.inference.soaking.broker_books import Subscriber
from benchmarks.inference.soaking.clients import Client
from benchmarks.inference.soaking.faults import Faults
from benchmarks.inference.soaking.feed import Feed
from benchmarks.inference.soaking.house import PIPELINES, WIRE, House, until
from benchmarks.inference.soaking.ledger import Ledger
from benchmarks.inference.soaking.numbered import MOST
from benchmarks.inference.soaking.swaps import Swapper, Swaps
from benchmarks.inference.soaking.verdict import LAG_S, explained, judge
from benchmarks.inference.soaking.watch import Watch

SECONDS, QUICK_SECONDS = 3600.0, 120.0
SEED = int(os.environ.get("SOAK_SEED", "1"))
SWAP_EVERY_S = 12.0
POWER_LOSSES, QUICK_POWER_LOSSES = 6, 1
POWER_SHARE = 0.4
"""The agent is killed within this first share only, so that its last life is long enough to see memory grow."""
SETTLE_S = 20.0


def measure(*, quick: bool = False) -> dict[str, object]:
    """What was done, what became of it, and ``violations``: empty when nothing is unaccounted for."""
    seconds = QUICK_SECONDS if quick else SECONDS
    folder = Path(mkdtemp(prefix="edge-soak-"))
    soak = Soak(folder, seconds, QUICK_POWER_LOSSES if quick else POWER_LOSSES)
    found = soak.run()
    if found["violations"]:
        found["kept"] = str(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return found


class Soak:
    """Everything of one run."""

    def __init__(self, folder: Path, seconds: float, power_losses: int) -> None:
        self.seconds = seconds
        self.house = House(folder)
        self.feed = Feed(self.house.wire)
        self.swaps = Swaps(self.house)
        self.watch = Watch(self.house)
        draw = random.Random(SEED)
        power_at_s = [draw.uniform(0.05, POWER_SHARE) * seconds for _ in range(power_losses)]
        self.faults = Faults(self.house, self.feed, self.watch, seed=SEED, power_at_s=power_at_s)
        self.swapper = Swapper(self.swaps, SWAP_EVERY_S)
        self.ledgers = {name: Ledger(name, folder / f"{name}.jsonl", self.swaps, self.feed, lambda connection: True) for name in PIPELINES}
        api = folder / "run" / "api.sock"
        self.clients = [Client(api, self.swaps, binary=bool(index), first=index * MOST // 2) for index in range(2)]
        self.subscriber: Subscriber | None = None
        self.stop_faults: list[str] = []

    def run(self) -> dict[str, Any]:
        began_s = time.monotonic()
        try:
            self._begin()
            self._wait()
            self._end()
        finally:
            self.house.stop()
            self.house.broker.stop()
        return judge(self, time.monotonic() - began_s)

    def _begin(self) -> None:
        self.house.folder.mkdir(exist_ok=True)
        self.house.furnish()
        self.house.broker.start()
        self.subscriber = Subscriber(self.house.broker.port)
        if not self.subscriber.subscribed.wait(10.0):
            raise ServerFailed("the subscriber was not subscribed")
        self.house.start()
        for thread in (self.feed, self.watch, *self.ledgers.values(), *self.clients):
            thread.start()
        time.sleep(2.0)
        self.faults.start()
        self.swapper.start()

    def _wait(self) -> None:
        ends_s = time.monotonic() + self.seconds
        told_s = time.monotonic()
        while time.monotonic() < ends_s and self.watch.is_alive():
            time.sleep(0.5)
            if time.monotonic() - told_s > 60:
                told_s = time.monotonic()
                self._tell(ends_s - told_s)

    def _tell(self, left_s: float) -> None:
        wrong = len(self.watch.violations) + len(self.swaps.violations) + len(self.faults.violations)
        wrong += sum(len(ledger.violations) for ledger in self.ledgers.values()) + sum(len(c.answers.wrong) for c in self.clients)
        done = f"{len(self.faults.done)} faults, {len(self.swaps.updates)} updates, {self.feed.sent} readings"
        failures = [failure for client in self.clients for failure in client.answers.failures]
        wrong += sum(not explained(failure, self.faults.done) for failure in failures)
        print(f"  {left_s:.0f} s left: {done}, {len(failures)} requests failed, {wrong} violations so far", flush=True)
        for what in [*self.watch.violations, *self.swaps.violations, *self.faults.violations][:5]:
            print(f"    {what[:300]}", flush=True)
        for ledger in self.ledgers.values():
            for what in ledger.violations[:3]:
                print(f"    {what[:300]}", flush=True)

    def _end(self) -> None:
        """No more faults; what is on its way arrives; then everything stops in order."""
        self.swapper.halt()
        self.faults.halt()
        self.feed.plug()
        until(lambda: self._all_run(), SETTLE_S, 0.5)
        time.sleep(SETTLE_S)
        for client in self.clients:
            client.halt()
        self.feed.halt()
        time.sleep(LAG_S)
        if not until(self._wire_is_quiet, SETTLE_S, 0.5):
            self.stop_faults.append(f"the wire did not come to rest: {self.house.status()}"[:800])
        if not until(lambda: (self.house.status() or {"outbox": {"queued": 1}})["outbox"]["queued"] < 20, 60.0, 0.5):
            self.stop_faults.append("the outbox was not emptied within 60 s")
        self.watch.halt()
        self.watch.look()
        self.stop_faults += self.house.stop()
        time.sleep(2.0)
        for ledger in self.ledgers.values():
            ledger.halt()
        if self.subscriber is not None:
            self.subscriber.close()

    def _all_run(self) -> bool:
        status = self.house.status()
        return status is not None and all(pipeline["state"] == "running" for pipeline in status["pipelines"])

    def _wire_is_quiet(self) -> bool:
        status = self.house.status()
        pipelines = {p["name"]: p["counters"] for p in status["pipelines"]} if status else {}
        return bool(pipelines) and pipelines[WIRE]["in_flight"] == 0


def lines(figures: dict[str, Any]) -> list[str]:
    done = figures["faults"]
    text = [f"  {figures['seconds']:.0f} s, seed {figures['seed']}: {sum(done.values())} faults, {figures['starts']} starts of the agent"]
    text += ["    " + ", ".join(f"{count} {what}" for what, count in sorted(done.items()))]
    text += ["  updates: " + ", ".join(f"{count} {what}" for what, count in sorted(figures["updates"].items()))]
    rows = [["pipeline", "lives", "lines", "missing, counted", "lost with a process", "most at once", "balanced statuses"]]
    for name, f in figures["pipelines"].items():
        row = [name, f["lives"], f["lines"], f["missing"], f["lost_with_process"], f["lost_most"], figures["statuses"]]
        rows.append([str(cell) for cell in row])
    text += table(rows)
    for name, f in figures["clients"].items():
        failed = ", ".join(f"{count} {why}" for why, count in f["failed"].items()) or "none"
        slow = f"slowest {f['slowest_ms']:.0f} ms, {f['over_100_ms']} over 100 ms"
        text.append(f"  client {name}: {f['good']} answers, {len(f['wrong'])} wrong; failed: {failed}; {slow}")
    m = figures["mqtt"]
    gone = f"{m['missing']} missing, of which {m['in_a_killed_agent']} in an agent killed within the time to write"
    text.append(f"  MQTT: {m['answered']} predictions, {m['arrived']} arrived ({m['messages']} messages), {gone}; dropped {m['dropped']}")
    for key in ("mib", "descriptors", "memory_files"):
        early, late = figures["held"]["early"].get(key, {}), figures["held"]["late"].get(key, {})
        text.append(f"  {key}: " + ", ".join(f"{role} {early.get(role, 0):g} -> {late[role]:g}" for role in sorted(late)))
    text += [f"  VIOLATION {what}" for what in figures["violations"]]
    return text + ([f"  kept: {figures['kept']}"] if "kept" in figures else [])
