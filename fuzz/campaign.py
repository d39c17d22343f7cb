"""Many cases over a few workers; what went wrong is kept as a file each, and everything is counted."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from fuzz.seeds import Seed
from fuzz.worker import make_case, serve

BATCH = 40
FINDINGS = ("traceback", "wrong", "slow")
"""What must not happen. A crash of native code is told apart: a build answers it with a refusal, since it happens in a child."""


@dataclass(slots=True)
class Tally:
    """``counts`` by outcome, ``by_kind`` by kind of file and outcome; ``kept`` the cases worth a look, each (number, outcome, what was
    said); ``slowest_s`` the longest case that ended."""

    counts: Counter[str] = field(default_factory=Counter)
    by_kind: Counter[str] = field(default_factory=Counter)
    kept: list[tuple[int, str, str]] = field(default_factory=list)
    slowest_s: float = 0.0

    @property
    def findings(self) -> int:
        return sum(self.counts[word] for word in FINDINGS)


@dataclass(slots=True)
class _Hand:
    """One worker process and the numbers it has not answered yet."""

    process: Any
    pipe: Connection
    waiting: list[int] = field(default_factory=list)
    since_s: float = 0.0


class Campaign:
    """Tries cases ``first`` to ``first + cases``. A case may take ``limit_s``; ``keep`` is a folder for files worth a look."""

    def __init__(self, seeds: Sequence[Seed], seed: int, *, workers: int = 2, limit_s: float = 20.0, keep: Path | None = None) -> None:
        self._seeds, self._seed, self._workers = seeds, seed, workers
        self._limit_s, self._keep = limit_s, keep
        self._context = multiprocessing.get_context("fork")
        self.tally = Tally()

    def run(self, cases: int, *, first: int = 0, tell: Callable[[Tally], None] = lambda tally: None) -> Tally:
        """The tally of all; ``tell`` hears of it now and then."""
        todo = list(range(first + cases - 1, first - 1, -1))
        hands: list[_Hand] = []
        try:
            hands += [self._start() for _ in range(self._workers)]
            while todo or any(hand.waiting for hand in hands):
                for place, hand in enumerate(hands):
                    if not hand.waiting and todo:
                        self._give(hand, [todo.pop() for _ in range(min(BATCH, len(todo)))])
                    if hand.waiting and time.monotonic() - hand.since_s > self._limit_s:
                        hands[place] = self._replace(hand, "slow", f"no answer after {self._limit_s:.0f} s", todo)
                for ready in wait([hand.pipe for hand in hands], timeout=0.5):
                    place = next(i for i, hand in enumerate(hands) if hand.pipe is ready)
                    if not self._answered(hands[place]):
                        hands[place] = self._replace(hands[place], "crash", "", todo)
                tell(self.tally)
        finally:
            for hand in hands:
                hand.process.kill()
                hand.process.join()
        return self.tally

    def _start(self) -> _Hand:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, self._seeds, self._seed), daemon=True)
        process.start()
        theirs.close()
        return _Hand(process, ours)

    def _give(self, hand: _Hand, numbers: list[int]) -> None:
        hand.waiting, hand.since_s = numbers, time.monotonic()
        hand.pipe.send(numbers)

    def _answered(self, hand: _Hand) -> bool:
        """Takes one answer; false when the worker is gone."""
        try:
            number, word, said, took_s = hand.pipe.recv()
        except (EOFError, OSError):
            return False
        hand.waiting.remove(number)
        hand.since_s = time.monotonic()
        self.tally.slowest_s = max(self.tally.slowest_s, took_s)
        self._count(number, word, said)
        return True

    def _replace(self, hand: _Hand, word: str, said: str, todo: list[int]) -> _Hand:
        """A new worker; the case that the old one was at is counted as ``word``, those behind it are tried again."""
        if word == "slow":
            hand.process.kill()
        hand.process.join()
        hand.pipe.close()
        if hand.waiting:
            code = hand.process.exitcode or 0
            name = signal.Signals(-code).name if code < 0 else f"exit {code}"
            self._count(hand.waiting[0], word, said or f"the worker ended ({name})")
            todo += reversed(hand.waiting[1:])
        return self._start()

    def _count(self, number: int, word: str, said: str) -> None:
        self.tally.counts[word] += 1
        if word in (*FINDINGS, "crash", "memory"):
            source, data, _ = make_case(self._seeds, self._seed, number)
            self.tally.kept.append((number, word, said))
            self.tally.by_kind[f"{source.kind} {word}"] += 1
            if self._keep is not None:
                self._keep.mkdir(parents=True, exist_ok=True)
                (self._keep / f"{word}-{self._seed}-{number}.{source.kind}").write_bytes(data)
                (self._keep / f"{word}-{self._seed}-{number}.txt").write_text(said)
        else:
            self.tally.by_kind[f"{said.partition('/')[0]} {word}"] += 1
