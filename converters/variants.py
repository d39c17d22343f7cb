"""The networks that targets are written from: the model itself, and it with channels taken out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from converters.calibrate.bias import correct_bias
from converters.calibrate.ranges import Calibration
from converters.model import Graph
from converters.passes.for_tflite import with_expansion
from converters.prune.cost import cost
from converters.prune.pruned import LayerKept
from converters.workshop import Workshop

SHARES = (0.7, 0.5, 0.35, 0.25, 0.15, 0.1)
"""Parts of the multiplications that pruned networks are made to keep."""


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """``name`` is empty for the model itself. ``macs`` counts its multiplications; ``layers`` says what became of each pruned layer's
    channels (before, after). ``calibration`` is there where integer targets are to be written."""

    name: str
    graph: Graph
    calibration: Calibration | None
    macs: int
    layers: tuple[LayerKept, ...] = ()

    def for_integers(self, keep_float: frozenset[str] = frozenset()) -> Graph:
        """The network with the biases that an integer target is to write when the nodes ``keep_float`` stay float."""
        return self.graph if self.calibration is None else correct_bias(self.graph, self.calibration, keep_float)


def plain(workshop: Workshop, graph: Graph, rows: tuple[int, ...], calibrator: str, *, integer: bool) -> Variant:
    """The model itself; calibrated where an ``integer`` target is to be written."""
    return _variant(workshop, "", graph, rows if integer else (), calibrator)


def refitted(workshop: Workshop, base: Variant, rows: tuple[int, ...]) -> Variant:
    """``base`` with ranges that make the least squared error instead of holding every value."""
    return Variant("fitted ranges", base.graph, workshop.calibrate(with_expansion(base.graph), rows, "mse"), base.macs, base.layers)


def pruned(workshop: Workshop, graph: Graph, rows: tuple[int, ...], calibrator: str, tell: Callable[[str], None]) -> tuple[Variant, ...]:
    """The network at several shares of its work, weights refitted on the calibration samples; empty when no channel can go."""
    tell(f"pruning to {', '.join(f'{100 * share:g}' for share in SHARES)} % of the work")
    made = workshop.prune(graph, rows, SHARES)
    return tuple(_variant(workshop, f"pruned to {100 * item.share:g} %", item.graph, rows, calibrator, item.layers) for item in made)


def _variant(
    workshop: Workshop, name: str, graph: Graph, rows: tuple[int, ...], calibrator: str, layers: tuple[LayerKept, ...] = ()
) -> Variant:
    calibration = workshop.calibrate(with_expansion(graph), rows, calibrator) if rows else None
    return Variant(name, graph, calibration, cost(graph).macs, layers)
