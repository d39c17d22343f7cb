"""The search with its eight stopwatches at most, against timing everything that it could have chosen, pruned networks included.

All that the search proved good is timed in turn with the original; the quickest of them and what the search chose are then timed once more,
the two alone, so that the luckiest of many is not taken for the best.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.convert.cases import Case, nets, published
from benchmarks.convert.corpus import silent
from benchmarks.convert.files import table
from converters.choose import Tried
from converters.gate import Limits, quality
from converters.isolate import JobServer
from converters.prepare import Prepared, prepare
from converters.recipe import Recipe
from converters.search import explore
from converters.timing import Ratio, latency, ratio
from converters.translate import Asked

BOARD = "generic-x86-64"
PUBLISHED = ("resnet8_float.onnx", "kws_dscnn_float.onnx")
WANTED = 1.05
ALL_S, PAIR_S = 6.0, 3.0
ROWS = 8


def measure() -> dict[str, object]:
    """By model: how many candidates there were and how many the search timed, what it chose, what is quickest, and the latency of the one
    as a multiple of the other's (median and interval)."""
    with tempfile.TemporaryDirectory(prefix="edge-choice-") as name, JobServer() as server:
        folder = Path(name)
        chosen = [*nets(folder), *(case for case in published(folder) if case.name in PUBLISHED)]
        return {case.name: _measured(case, folder, server) for case in chosen}


def _measured(case: Case, folder: Path, server: JobServer) -> dict[str, Any]:
    room = Path(tempfile.mkdtemp(prefix="choice-", dir=folder))
    recipe = Recipe("m", "1", (BOARD,), prune=True, calibration=64)
    ready = prepare(Asked(str(case.model)), case.samples, recipe, room, silent, server)
    found = explore(ready, silent)
    good = [item for item in found.tried if not quality(item.evaluation, _limits(recipe))]
    facts = {"candidates": len(good), "timed": sum(item.speed is not None for item in found.tried), "why": found.why}
    if found.chosen is None:
        return facts
    best = _quickest(ready, good)
    facts.update(chosen=found.chosen.candidate.label, best=best.candidate.label, times=1.0, low=1.0, high=1.0)
    if best is not found.chosen:
        between = _times(ready, found.chosen, best)
        facts.update(times=between.median, low=between.low, high=between.high)
    return facts


def _limits(recipe: Recipe) -> Limits:
    return Limits(recipe.max_drop, recipe.min_sqnr_db, float("inf"))


def _quickest(ready: Prepared, good: list[Tried]) -> Tried:
    rounds = ready.workshop.time([item.proof.path for item in good], ready.original.split.evaluate[:ROWS], budget_s=ALL_S)
    return min(zip(rounds, good, strict=True), key=lambda pair: latency(pair[0]).median_us)[1]


def _times(ready: Prepared, chosen: Tried, best: Tried) -> Ratio:
    """The latency of ``chosen`` as a multiple of that of ``best``."""
    rows = ready.original.split.evaluate[:ROWS]
    first, second = ready.workshop.time([chosen.proof.path, best.proof.path], rows, budget_s=PAIR_S)
    return ratio(first, second)


def lines(figures: dict[str, Any]) -> list[str]:
    rows = [["model", "good candidates", "timed", "chosen", "quickest", "chosen / quickest", f"within {100 * (WANTED - 1):.0f} %"]]
    for model, found in figures.items():
        timed = [str(found["candidates"]), str(found["timed"])]
        if "chosen" not in found:
            rows.append([model, *timed, "none", "-", "-", "-"])
            continue
        said = f"{found['times']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
        rows.append([model, *timed, found["chosen"], found["best"], said, "yes" if found["times"] <= WANTED else "no"])
    return table(rows)
