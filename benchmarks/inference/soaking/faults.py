"""What is done to the device, at random moments from a seed; who did it when is written down."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.inference.soaking.feed import Feed
from benchmarks.inference.soaking.house import SILENT_S, House, alive, until
from benchmarks.inference.soaking.watch import Watch

SPACING_S = (0.6, 2.6)
SHORT_S = (0.2, 1.5)
AWAY_S = (1.0, 8.0)
ZYGOTE_EVERY_S = 20.0
DEATH_S = 10.0
POWER_OFF_S = (0.5, 3.0)


@dataclass(slots=True)
class Fault:
    """``target``: worker, pipeline NAME, api, zygote, source, broker, agent. ``how``: KILL, SEGV, STOP (left so), PAUSE, ..."""

    target: str
    how: str
    at_ns: int
    until_ns: int
    pid: int = 0


class Faults(threading.Thread):
    """One after the other until told to stop, at random distances. Raises nothing: what could not be done is counted."""

    def __init__(self, house: House, feed: Feed, watch: Watch, *, seed: int, power_at_s: list[float]) -> None:
        super().__init__(name="faults", daemon=True)
        self.seed = seed
        self.done: list[Fault] = []
        self.missed: Counter[str] = Counter()
        self.violations: list[str] = []
        self._house, self._feed, self._watch = house, feed, watch
        self._random = random.Random(seed)
        self._power_at_s = sorted(power_at_s)
        self._halt = threading.Event()
        self._zygote_s = 0.0
        self._began_s = time.monotonic()
        self._acts: list[tuple[int, Callable[[], None]]] = [
            (24, self._worker),
            (22, self._pipeline),
            (14, self._api),
            (6, self._zygote),
            (14, self._source),
            (12, self._broker),
        ]

    def halt(self) -> None:
        self._halt.set()
        self.join(60.0)

    def run(self) -> None:
        weights = [weight for weight, _ in self._acts]
        while not self._halt.wait(self._random.uniform(*SPACING_S)):
            try:
                if self._power_at_s and time.monotonic() - self._began_s >= self._power_at_s[0]:
                    self._power_at_s.pop(0)
                    self._power()
                else:
                    self._random.choices([act for _, act in self._acts], weights)[0]()
            except ProcessLookupError:
                self.missed["gone"] += 1
            except Exception as error:  # the soak goes on, and says so in the end
                self.violations.append(f"a fault could not be injected: {type(error).__name__}: {error}")

    def _worker(self) -> None:
        self._hit("worker", self._random.choice(("KILL", "KILL", "SEGV", "STOP", "PAUSE")))

    def _pipeline(self) -> None:
        self._hit("pipeline", self._random.choice(("KILL", "KILL", "SEGV", "STOP", "PAUSE")))

    def _api(self) -> None:
        self._hit("api", self._random.choice(("KILL", "KILL", "SEGV", "STOP", "PAUSE", "PAUSE")))

    def _zygote(self) -> None:
        if time.monotonic() - self._zygote_s < ZYGOTE_EVERY_S:
            return
        self._zygote_s = time.monotonic()
        self._hit("zygote", self._random.choice(("KILL", "SEGV", "PAUSE")))

    def _hit(self, kind: str, how: str) -> None:
        """A signal to one of the processes of a kind. After PAUSE it goes on by itself; after STOP the device has to help itself."""
        found = [process for process in self._watch.processes() if process[0].startswith(kind)]
        if not found:
            self.missed[kind] += 1
            return
        role, pid = self._random.choice(found)
        fault = Fault(role, how, time.monotonic_ns(), 0, pid)
        os.kill(pid, {"KILL": signal.SIGKILL, "SEGV": signal.SIGSEGV}.get(how, signal.SIGSTOP))
        self.done.append(fault)
        if how == "PAUSE":
            self._halt.wait(self._random.uniform(*SHORT_S))
            os.kill(pid, signal.SIGCONT)
        if how in ("KILL", "SEGV"):
            until(lambda: not alive(pid), DEATH_S, 0.005)  # a busy board takes its time over a death
        fault.until_ns = time.monotonic_ns() + (int((SILENT_S + 2.0) * 1e9) if how == "STOP" else 0)

    def _source(self) -> None:
        fault = Fault("source", "UNPLUG", time.monotonic_ns(), 0)
        self._feed.unplug()
        self._halt.wait(self._random.uniform(0.02, 3.0))
        self._feed.plug()
        fault.until_ns = time.monotonic_ns()
        self.done.append(fault)

    def _broker(self) -> None:
        how = self._random.choice(("RESTART", "FREEZE"))
        fault = Fault("broker", how, time.monotonic_ns(), 0)
        broker = self._house.broker
        if how == "RESTART":
            broker.stop()
            self._halt.wait(self._random.uniform(*AWAY_S))
            broker.start()
        else:
            broker.signal(signal.SIGSTOP)
            self._halt.wait(self._random.uniform(*AWAY_S) * 1.5)
            broker.signal(signal.SIGCONT)
        fault.until_ns = time.monotonic_ns()
        self.done.append(fault)

    def _power(self) -> None:
        fault = Fault("agent", "KILL", time.monotonic_ns(), 0, self._house.process.pid)
        self.done.append(fault)
        with self._watch.paused():
            left = self._house.lose_power()
            self.violations += [f"outlived a killed agent by 5 s: {what}" for what in left]
            self._halt.wait(self._random.uniform(*POWER_OFF_S))
            self._house.start()
        fault.until_ns = time.monotonic_ns()
