"""The trial of options on the device: short, side by side, at idle priority, each set in a process of its own.

A program of its own (``python -m edge_agent.tuning``): it has one thread and the runtime imported, so that a set of options costs a fork
and not a start. At most two copies of the model are in memory. It prints the choice as JSON and keeps it for the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edge_agent.bench_apart import Apart, Measured
from edge_agent.bench_subject import Subject
from edge_agent.errors import EdgeError, RuntimeMissing
from edge_agent.inference import process
from edge_agent.runtimes.installed import onnx_library, tflite_library
from edge_agent.runtimes.options import RuntimeOptions, options_from_json
from edge_agent.runtimes.tune import (
    Choice,
    Tried,
    TuneKey,
    better,
    challengers,
    choice_to_json,
    cpu_model,
    describe,
    kept_choice,
    variants,
)
from edge_agent.update.durable import write_durable

BUDGET_S = 3.0
"""Processor time of a whole trial at most, imports included; what does not fit is not tried."""

ROUNDS = 6
ROUND_S = 0.015
MOST_IN_A_ROUND = 200
WARMUP = 3
ANSWER_S = 30.0
"""A model that takes longer to load, or for one inference, is not tried any further."""

CpuSeconds = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Order:
    """What to try: the model, the kind of runtime, the cores there are, and how often a second it will be asked (0: not known)."""

    subject: Subject
    kind: str
    cores: int
    rate_hz: float = 0.0


class Tuner:
    """One trial. ``spent_s`` tells the processor time of this process and of its children that ended."""

    def __init__(self, order: Order, spent_s: CpuSeconds, budget_s: float = BUDGET_S) -> None:
        self._order = order
        self._spent_s = spent_s
        self._budget_s = budget_s
        self._tried: list[Tried] = []
        self._reasons: list[str] = []
        self._duel_s = 0.0

    def run(self) -> Choice:
        """Try and decide. Raises ModelError when the model does not run with the options it starts from."""
        order = self._order
        champion = self._opened(order.subject.options)
        try:
            first = best = _tried(champion, [champion.round(MOST_IN_A_ROUND, ROUND_S) for _ in range(ROUNDS)])
            self._tried.append(first)
            for stage in (1, 2):
                duty = order.rate_hz * best.p50_us / 1e6
                more = challengers(best.options, order.cores) if stage == 1 else variants(order.kind, best.options, duty)
                for name, change in more:
                    if self._spent_s() + champion.cpu_s + self._duel_s > self._budget_s:
                        self._reasons.append(f"no processor time left to try {name}")
                        return self._choice(best)
                    champion, best = self._duel(name, replace(best.options, **change), first, champion, best)
        finally:
            champion.close()
        return self._choice(best)

    def _duel(self, name: str, options: RuntimeOptions, first: Tried, champion: _Held, best: Tried) -> tuple[_Held, Tried]:
        """The process and figures of the better one; the other's process is ended."""
        before_s = self._spent_s() + champion.cpu_s
        try:
            challenger = self._opened(options)
        except EdgeError as error:
            self._reasons.append(f"{name} does not work: {error}")
            return champion, best
        turns = [(champion.round(MOST_IN_A_ROUND, ROUND_S), challenger.round(MOST_IN_A_ROUND, ROUND_S)) for _ in range(ROUNDS)]
        old, new = _tried(champion, [turn[0] for turn in turns]), _tried(challenger, [turn[1] for turn in turns])
        self._tried.append(new)
        why = better(first, old, new)
        winner, loser = (challenger, champion) if why else (champion, challenger)
        self._duel_s = self._spent_s() + champion.cpu_s + challenger.cpu_s - before_s
        loser.close()
        if why:
            self._reasons.append(f"{name}: {why}")
        return winner, new if why else old

    def _opened(self, options: RuntimeOptions) -> _Held:
        held = _Held(replace(self._order.subject, options=options), forked=True, timeout_s=ANSWER_S)
        try:
            held.own_mib = held.load(WARMUP).own_mib
        except BaseException:
            held.close()
            raise
        return held

    def _choice(self, best: Tried) -> Choice:
        reasons = self._reasons or ["nothing else was better"]
        if any(tried.waited for tried in self._tried):
            reasons = [*reasons, "the board was busy, so speed could not be told"]
        return Choice(best.options, "; ".join(reasons), tuple(self._tried))


class _Held(Apart):
    """A process with a loaded model, and the memory that this took."""

    own_mib = 0.0


def _tried(held: _Held, rounds: list[Measured]) -> Tried:
    count = sum(len(r.round.times_us) for r in rounds)
    mean_us = sum(sum(r.round.times_us) for r in rounds) / count
    cpu_us = sum(r.round.cpu_us for r in rounds) / count
    return Tried(held.subject.options, tuple(r.round.p50_us for r in rounds), mean_us, cpu_us, held.own_mib)


def library_name(kind: str) -> str:
    """Library and version that runs models of ``kind`` here, for the key of a kept choice. Raises RuntimeMissing when there is none."""
    library = onnx_library() if kind == "onnx" else tflite_library()
    if library is None:
        raise RuntimeMissing(f"no runtime for {kind} models is installed")
    return " ".join(library)


def tune(order: Order, key: TuneKey, folder: Path | None) -> Choice:
    """The choice for ``order``: the one kept in ``folder`` for ``key``, else a trial's, which is kept unless the board was too busy to
    tell. This process must have one thread.

    Raises ModelError, BundleError or RuntimeMissing when the model does not run at all, StoreError when the choice cannot be kept.
    """
    kept = kept_choice(folder, key) if folder is not None else None
    if kept is not None:
        return kept
    from edge_agent.runtimes.choose import preimport

    process.yield_to_others()
    preimport((order.kind,))
    if process.thread_count() != 1:
        raise RuntimeMissing(f"{order.kind} started threads when it was imported; options are not tried, since a fork would not be safe")
    choice = Tuner(order, _spent_s).run()
    if folder is not None and not choice.busy:
        folder.mkdir(parents=True, exist_ok=True)
        write_durable(folder / key.file_name(), choice_to_json(key, choice))
    return choice


def _spent_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main(argv: list[str] | None = None) -> int:
    """The program: an order as JSON on standard input, the choice or ``{"error": ...}`` as the last line of standard output.

    The order: ``subject`` (the fields of :class:`~edge_agent.bench.Subject`, options as JSON), ``kind``, ``rate_hz``, ``digest``, and
    ``folder``, where choices are kept (empty: nowhere).
    """
    argparse.ArgumentParser(
        prog="edge_agent.tuning", description="Tries options of a model on this board; started by the agent."
    ).parse_args(argv)
    said = json.load(sys.stdin)
    process.begin("edge-tuning", os.getppid())
    try:
        subject = Subject(**{**said["subject"], "options": options_from_json(said["subject"]["options"])})
        order = Order(subject, said["kind"], os.cpu_count() or 1, float(said["rate_hz"]))
        key = TuneKey(said["digest"], library_name(order.kind), cpu_model(), order.rate_hz, describe(subject.options))
        choice = tune(order, key, Path(said["folder"]) if said["folder"] else None)
        print(choice_to_json(key, choice).decode().replace("\n", ""))
    except EdgeError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
