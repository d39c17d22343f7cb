"""The networks that targets are written from: the model itself, and it with channels taken out."""

from __future__ import annotations

from dataclasses import dataclass

from converters.calibrate.bias import correct_bias
from converters.calibrate.ranges import Calibration
from converters.model import Graph
from converters.prune.pruned import LayerKept


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
