"""What pruning gives."""

from __future__ import annotations

from dataclasses import dataclass

from converters.model import Graph


@dataclass(frozen=True, slots=True)
class LayerKept:
    """Output channels of one layer, named by the tensor it writes, before and after."""

    name: str
    before: int
    after: int


@dataclass(frozen=True, slots=True, eq=False)
class Pruned:
    """A narrower network. ``share`` of the cost was asked for; ``macs`` and ``params`` are what it has. ``error``: squared error of its
    outputs over their variance, on samples that no weight was fitted to (they chose the damping, and whether polishing helped). ``cpu_s``:
    processor seconds that it took; what several networks of one study have in common counts for the first that needed it. ``notes``
    say what was left out for want of time."""

    share: float
    graph: Graph
    macs: int
    params: int
    layers: tuple[LayerKept, ...]
    error: float
    cpu_s: float = 0.0
    notes: tuple[str, ...] = ()
