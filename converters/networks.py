"""The networks that a search writes its candidates from, made: the model itself, refitted, pruned, distilled."""

from __future__ import annotations

import re
from collections.abc import Callable

from converters.distil.distil import distil
from converters.model import Graph
from converters.passes.for_tflite import with_expansion
from converters.prepare import Prepared
from converters.prune.cost import cost
from converters.prune.pruned import LayerKept
from converters.translate import Tell
from converters.variants import Variant

_ROUND = re.compile(r"round (\d+) of (\d+)")
SHARES = (0.5, 0.3, 0.25, 0.2)
"""Parts of its cost (multiplications, weights and traffic) that a pruned network is made to keep."""


def plain(ready: Prepared, graph: Graph, *, integer: bool) -> Variant:
    """The model itself; calibrated where an ``integer`` target is to be written."""
    known = ready.calibration.result() if integer and ready.calibration is not None else None
    return Variant("", graph, known, cost(graph).macs) if known is not None else _variant(ready, "", graph, calibrated=integer)


def refitted(ready: Prepared, base: Variant) -> Variant:
    """``base`` with ranges that make the least squared error instead of holding every value."""
    calibration = ready.workshop.calibrate(with_expansion(base.graph), ready.original.split.calibrate, "mse")
    return Variant("fitted ranges", base.graph, calibration, base.macs, base.layers)


def pruned(ready: Prepared, base: Variant, tell: Tell) -> tuple[Variant, ...]:
    """The network at several shares of its cost, weights refitted on the calibration samples. Raises
    :class:`~edge_agent.errors.ModelError` when no channel can go."""
    tell(f"pruning to {', '.join(f'{100 * share:g}' for share in SHARES)} % of the cost")
    made = ready.workshop.prune(base.graph, ready.original.split.calibrate, SHARES)
    calibrated = base.calibration is not None
    return tuple(
        _variant(ready, f"pruned to {100 * item.share:g} %", item.graph, calibrated=calibrated, layers=item.layers) for item in made
    )


def distilled(ready: Prepared, base: Variant, students: tuple[Variant, ...], tell: Tell) -> tuple[Variant, ...]:
    """Each of ``students`` once more, its weights trained to answer as ``base`` does (in the PyTorch tool environment)."""
    taught = (_distilled(ready, base, student, tell) for student in students)
    return tuple(variant for variant in taught if variant is not None)


def _distilled(ready: Prepared, base: Variant, student: Variant, tell: Tell) -> Variant | None:
    """``None`` where it learned nothing."""
    tell(f"distilling the network {student.name}")
    recipe = ready.recipe
    graph = distil(
        student.graph,
        base.graph,
        ready.original.samples.path,
        temperature=recipe.temperature,
        alpha=recipe.label_weight,
        seed=recipe.seed,
        folder=ready.workshop.room("distil"),
        make=ready.make_tools,
        tell=_rounds(tell),
        rows=ready.original.split.calibrate,
        preprocess=recipe.processing.preprocess,
    )
    if graph is student.graph:
        return None
    return _variant(ready, f"{student.name}, distilled", graph, calibrated=student.calibration is not None, layers=student.layers)


def _rounds(tell: Tell) -> Callable[[str], None]:
    """Rounds of teaching move a bar instead of filling the screen."""

    def heard(text: str) -> None:
        found = _ROUND.search(text)
        tell(text, int(found[1]) / int(found[2]) if found else None)

    return heard


def _variant(ready: Prepared, name: str, graph: Graph, *, calibrated: bool, layers: tuple[LayerKept, ...] = ()) -> Variant:
    rows, word = ready.original.split.calibrate, ready.recipe.calibrator
    calibration = ready.workshop.calibrate(with_expansion(graph), rows, word) if calibrated else None
    return Variant(name, graph, calibration, cost(graph).macs, layers)
