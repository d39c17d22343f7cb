"""The search: write what the boards allow, prove it, let the gate see it, time the best, choose.

Free checks come first (what can be written, what fits the budget), then the answers on this machine, then at most eight stopwatches.
"""

from __future__ import annotations

import itertools
import os
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from converters.candidates import Candidate, NotMade, as_it_is, emit
from converters.choose import WORTH_ELSEWHERE, WORTH_HERE, Tried, choose
from converters.gate import Limits
from converters.memory import least_memory
from converters.networks import distilled, plain, pruned
from converters.prepare import Prepared
from converters.rescue import Rescue
from converters.sensitivity import LayerNoise
from converters.shortlist import shortlist
from converters.timing import Latency
from converters.translate import Tell
from converters.trying import Proven, judge_all, prove
from converters.variants import Variant
from converters.words import needs_ranges
from edge_agent.errors import ModelError

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """All that a search found out. ``variants`` begin with the model itself; ``sensitivity`` has the noisiest layer first."""

    variants: tuple[Variant, ...]
    tried: tuple[Tried, ...]
    not_made: tuple[NotMade, ...]
    sensitivity: tuple[LayerNoise, ...]
    source_latency: Latency | None
    chosen: Tried | None
    why: str


def explore(ready: Prepared, tell: Tell, *, jobs: int = 0) -> Found:
    """Searches as the recipe says; ``jobs`` proofs at once (0: one for each processor)."""
    return _Search(ready, tell, jobs or os.cpu_count() or 1).run()


class _Search:
    def __init__(self, ready: Prepared, tell: Tell, jobs: int) -> None:
        self._ready, self._tell, self._jobs = ready, tell, jobs
        self._unpruned: tuple[NotMade, ...] = ()
        recipe, budget = ready.recipe, ready.goal.budget
        self._here = platform.machine() in ready.goal.arch
        latency_ms = budget.latency_ms if self._here else float("inf")
        self._limits = Limits(
            recipe.max_drop, recipe.min_sqnr_db, budget.size_mib, budget.memory_mib, latency_ms, recipe.force, recipe.strict
        )

    def run(self) -> Found:
        ready = self._ready
        variants = self._variants()
        made = self._written(variants)
        proven, failed = self._proven(made, variants)
        sensitivity: tuple[LayerNoise, ...] = ()
        if ready.recipe.search and variants and variants[0].calibration is not None:
            rescued = Rescue(ready, self._tell, self._prove, self._good, self._each).run(proven, variants[0])
            proven, failed, sensitivity = list(rescued.proven), [*failed, *rescued.not_made], rescued.sensitivity
            variants = (*variants, *rescued.variants)
        good = [at for at, item in enumerate(proven) if self._good(item)]
        timed = self._timed(proven, good) if ready.recipe.search else ()
        if timed:
            self._tell(f"timing {len(timed)} in turn with the original")
        tried, latency = judge_all(ready, proven, timed, self._limits)
        chosen, why = choose(tried, worth=WORTH_HERE if self._here else WORTH_ELSEWHERE)
        if chosen is None and (unchanged := as_it_is(ready.source, ready.goal, ready.recipe)):
            tried, chosen, why = self._unchanged(tried, unchanged)
        not_made = (*(item for item in made if isinstance(item, NotMade)), *failed, *self._unpruned)
        return Found(variants, tried, not_made, sensitivity, latency, chosen, why)

    def _unchanged(self, tried: tuple[Tried, ...], scheme: str) -> tuple[tuple[Tried, ...], Tried | None, str]:
        """The file itself, where nothing that was made of it may leave."""
        self._tell("proving the file as it is")
        candidate = emit(scheme, self._ready.source, None)
        proven = self._prove(candidate, None) if isinstance(candidate, Candidate) else candidate
        if isinstance(proven, NotMade):
            return tried, None, "no candidate passed"
        tried = (*tried, *judge_all(self._ready, [proven], (), self._limits)[0])
        chosen = choose(tried)[0]
        why = "nothing that was made of the file is better than the file itself: it is packed as it is" if chosen else "no candidate passed"
        return tried, chosen, why

    def _variants(self) -> tuple[Variant, ...]:
        ready, recipe = self._ready, self._ready.recipe
        if ready.graph is None or ready.schemes[0].endswith("as-is"):
            return ()
        integer = any(map(needs_ranges, ready.schemes))
        if integer:
            self._tell(f"calibrating on {len(ready.original.split.calibrate)} samples")
        base = plain(ready, ready.graph, integer=integer)
        if not recipe.prune:
            return (base,)
        try:
            students = pruned(ready, base, self._tell)
        except ModelError as error:
            self._unpruned = (NotMade("pruned", str(error)),)
            return (base,)
        return (base, *students, *(distilled(ready, base, students, self._tell) if recipe.distil else ()))

    def _written(self, variants: tuple[Variant, ...]) -> list[Candidate | NotMade]:
        """Candidates in the board's order, the model itself before its pruned forms. Without a search the first that can be written."""
        ready = self._ready
        made: list[Candidate | NotMade] = []
        for scheme in ready.schemes:
            integer = needs_ranges(scheme)
            chosen = [v for v in variants if not v.name or integer or not any(map(needs_ranges, ready.schemes))]
            made += [emit(scheme, ready.source, variant) for variant in chosen or (None,)]
            if not ready.recipe.search and isinstance(made[-1], Candidate):
                break
        return made

    def _proven(self, made: Sequence[Candidate | NotMade], variants: tuple[Variant, ...]) -> tuple[list[Proven], list[NotMade]]:
        candidates = [item for item in made if isinstance(item, Candidate)]
        self._tell(f"proving {len(candidates)} on {len(self._ready.original.split.evaluate)} samples")
        by_name = {variant.name: variant for variant in variants}
        results = self._each(lambda candidate: self._prove(candidate, by_name.get(candidate.variant)), candidates)
        return [r for r in results if isinstance(r, Proven)], [r for r in results if isinstance(r, NotMade)]

    def _prove(self, candidate: Candidate, variant: Variant | None) -> Proven | NotMade:
        memory = least_memory(variant.graph, len(candidate.data)) if variant else len(candidate.data)
        return prove(self._ready, candidate, variant.macs if variant else 0, memory, self._limits)

    def _good(self, item: Proven) -> bool:
        return item.good(self._limits)

    def _timed(self, proven: Sequence[Proven], good: Sequence[int]) -> tuple[int, ...]:
        """Positions in ``proven``; those that the gate refuses anyway only where nothing else is there to be shown."""
        among = list(good) or list(range(len(proven)))
        chosen = shortlist([proven[at].candidate for at in among], [proven[at].macs for at in among])
        return tuple(among[at] for at in chosen)

    def _each(self, function: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
        """``function`` of each item, ``jobs`` at once, in order."""
        done = itertools.count(1)

        def counted(item: _T) -> _R:
            result = function(item)
            self._tell(str(getattr(item, "label", item)), next(done) / len(items))
            return result

        if self._jobs == 1 or len(items) < 2:
            return [counted(item) for item in items]
        with ThreadPoolExecutor(self._jobs) as pool:
            try:
                return list(pool.map(counted, items))
            except KeyboardInterrupt:
                self._ready.workshop.stop()  # the pool would wait for what runs, and the folder goes next
                raise
