"""Every line that the device wrote, read as it is written: which reading, answered by which version, once, and what is missing."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from benchmarks.inference.soaking.feed import Feed
from benchmarks.inference.soaking.house import PLAY, RECORDED, WIRE
from benchmarks.inference.soaking.numbered import MOST, is_answer, number_of, seed_of
from benchmarks.inference.soaking.swaps import Swaps

READ_EVERY_S = 1.0
FEW = 20


class Tail:
    """Whole lines of a file that grows, is cut back to a whole line, and is rotated."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._at = 0

    def lines(self) -> list[bytes]:
        """Those since the last call."""
        found = self._read()
        while self._rotated():
            found += self._read()  # what came between the last look and the rotation
            assert self._file is not None
            self._file.close()
            self._file = None
            found += self._read()
        return found

    def _read(self) -> list[bytes]:
        if self._file is None:
            try:
                self._file = self._path.open("rb")
            except FileNotFoundError:
                return []
            self._at = 0
        self._file.seek(self._at)
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        return whole.split(b"\n")[:-1]

    def _rotated(self) -> bool:
        if self._file is None:
            return False
        try:
            now = self._path.stat()
        except FileNotFoundError:  # between two renames: the new one comes with the next line
            return False
        return now.st_ino != os.fstat(self._file.fileno()).st_ino


@dataclass(slots=True)
class Written:
    """One life of a pipeline as its file tells of it. ``missing``: sample numbers left out between its first and its last line."""

    began_ns: int
    ended_ns: int
    first_seq: int
    last_seq: int
    last_window: int
    last_number: int
    last_connection: int
    lines: int = 1
    missing: int = 0
    lost_after: int = 0


class Ledger(threading.Thread):
    """Follows the file of one pipeline."""

    def __init__(self, pipeline: str, path: Path, swaps: Swaps, feed: Feed, unplugged: Callable[[int], bool]) -> None:
        super().__init__(name=f"ledger-{pipeline}", daemon=True)
        self.pipeline = pipeline
        self.lives: list[Written] = []
        self.seen = bytearray(MOST if pipeline == WIRE else 0)
        self.answered_ns: dict[int, int] = {}
        self.violations: list[str] = []
        self.counts: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        self._tail, self._swaps, self._feed, self._unplugged = Tail(path), swaps, feed, unplugged
        self._to_check: list[tuple[int, int, str, int]] = []
        self._halt = threading.Event()

    def halt(self) -> None:
        self._halt.set()
        self.join(60.0)
        self.read()
        self.check_versions(all_of_them=True)

    def run(self) -> None:
        while not self._halt.wait(READ_EVERY_S):
            try:
                self.read()
                self.check_versions()
            except Exception as error:  # the soak goes on, and says so in the end
                self._violate(f"the ledger stumbled: {type(error).__name__}: {error}")

    def read(self) -> None:
        for text in self._tail.lines():
            try:
                line = json.loads(text)
            except ValueError:
                self._violate(f"not a line of ours: {text[:200]!r}")
                continue
            self._take(line)

    def check_versions(self, *, all_of_them: bool = False) -> None:
        """Once the update is over that was under way, it is known which versions might have answered."""
        if not self._to_check or (self._swaps.under_way() and not all_of_them):
            return
        checked, self._to_check = self._to_check, []
        for since_ns, until_ns, version, seq in checked:
            if version not in (allowed := self._swaps.allowed(since_ns, until_ns)):
                self._violate(f"sample {seq} was answered by version {version} where {sorted(allowed)} might")

    def _violate(self, what: str) -> None:
        self.counts["violations"] += 1
        if self.counts["violations"] <= FEW:
            self.violations.append(f"{self.pipeline}: {what}")

    def _take(self, line: dict[str, Any]) -> None:
        self.counts["lines"] += 1
        version, first, last = str(line["version"]), int(line["first_seq"]), int(line["last_seq"])
        answered_ns = int(line["t_ns"]) + int(line["times"]["total_us"] * 1000)
        asked_ns = answered_ns - int((line["times"]["infer_us"] + line["times"]["postprocess_us"]) * 1000)
        self.versions[version] += 1
        number = first
        if self.pipeline in (PLAY, WIRE):
            number = self._number(line, version)
            self._to_check.append((asked_ns, answered_ns, version, first))
        if self.pipeline == WIRE:
            self._mark(number, answered_ns)
        self._follow(int(line["window_seq"]), first, last, number, answered_ns)

    def _number(self, line: dict[str, Any], version: str) -> int:
        """The reading that was answered. What the model says of it, the label that came with it and its place must agree."""
        scores = line["scores"]
        number = number_of(scores)
        wanted = int(line["expected"]) if self.pipeline == WIRE else int(line["first_seq"]) % RECORDED
        if number != wanted or not is_answer(scores, number, seed_of(version)):
            self._violate(f"reading {wanted} was answered with {scores} by version {version}")
        return wanted

    def _mark(self, number: int, answered_ns: int) -> None:
        if self.seen[number]:
            self._violate(f"reading {number} was answered twice")
        self.seen[number] = 1
        self.answered_ns[number] = answered_ns

    def _follow(self, window: int, first: int, last: int, number: int, answered_ns: int) -> None:
        life = self.lives[-1] if self.lives else None
        connection = self._feed.connection_of(number) if self.pipeline == WIRE else 0
        if life is None or window <= life.last_window:
            if life is not None and self.pipeline == WIRE:
                life.lost_after = number - life.last_number - 1 - first
                self.counts["lost with the process"] += life.lost_after
                if life.lost_after < 0:
                    self._violate(f"reading {number} came as sample {first} of a new life, after {life.last_number}")
            self.lives.append(Written(answered_ns, answered_ns, first, last, window, number, connection, missing=first))
            return
        if self.pipeline in (PLAY, WIRE):
            life.missing += first - life.last_seq - 1
        if first <= life.last_seq and self.pipeline != "late":
            self._violate(f"sample {first} came after sample {life.last_seq}")
        if self.pipeline == WIRE:
            self._compare(life, first, number, connection)
        life.last_seq, life.last_window, life.last_number, life.last_connection = last, window, number, connection
        life.ended_ns = answered_ns
        life.lines += 1

    def _compare(self, life: Written, first: int, number: int, connection: int) -> None:
        """Numbers and samples must advance alike: what was sent and is no sample was lost before it was counted."""
        uncounted = (number - life.last_number) - (first - life.last_seq)
        if uncounted == 0:
            return
        if connection != life.last_connection and self._unplugged(connection):
            self.counts["lost at a new plug while it was not read"] += uncounted
            return
        self._violate(f"{uncounted} readings before {number} were sent and never counted (connection {life.last_connection}, {connection})")

    def longest_loss(self) -> int:
        return max((life.lost_after for life in self.lives), default=0)
