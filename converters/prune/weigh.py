"""What a network with fewer channels costs: an estimate of its time in int8 kernels, and the parameters it is stored in.

Kernels make whole tiles. XNNPACK's for int8, and those of ONNX Runtime, give 16 outputs at a time from 4 or 8 inputs at a time, so 24
channels take as long as 32, and 4 as long as 16 (measured in LiteRT on x86-64 with VNNI; the tiles for Arm are as wide). What is cut should
end at such a multiple.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from converters.prune.cost import Cost, NodeCost
from converters.prune.groups import Groups, Layer
from converters.prune.spans import Spans

OUTPUT_TILE = 16
INPUT_TILE = 8
VALUE_MACS = 16
"""Multiplications that take as long as moving one value between layers."""


@dataclass(frozen=True, slots=True)
class Weighing:
    """What counts as cost, in parts: the estimated time, and parameters (the file). Shares of the original's sums."""

    time: float = 1.0
    params: float = 0.0


BALANCED = Weighing(time=0.7, params=0.3)


class Burden:
    """Costs of the network of ``groups`` with so many channels kept, as shares of what it costs whole (``full``)."""

    def __init__(self, groups: Groups, full: Cost, weighing: Weighing = BALANCED) -> None:
        self._groups = groups
        nodes = [full.by_node[layer.index] for layer in groups.layers]
        pairs = list(zip(groups.layers, nodes, strict=True))
        time = max(sum(_time(layer, node, groups, {}) for layer, node in pairs), 1.0)
        params = max(sum(node.params for node in nodes), 1)
        parts = weighing.time + weighing.params
        self._layers = [(layer, node, weighing.time / time / parts, weighing.params / params / parts) for layer, node in pairs]
        self._touched: dict[int, list[int]] = {}
        for at, (layer, *_) in enumerate(self._layers):
            for group in {span.group for span in (*layer.inputs, *layer.outputs)}:
                self._touched.setdefault(group, []).append(at)

    def share(self, kept: Mapping[int, int]) -> float:
        """Of the whole cost. What operators other than layers cost is taken to shrink with the layers' outputs."""
        return sum(self._of(at, kept) for at in range(len(self._layers)))

    def saved(self, kept: Mapping[int, int], group: int, count: int) -> float:
        """By how much the share falls when ``group`` goes from what it has to ``count`` channels."""
        after = {**kept, group: count}
        return sum(self._of(at, kept) - self._of(at, after) for at in self._touched.get(group, ()))

    def neighbours(self, group: int) -> frozenset[int]:
        """The groups whose savings change with the size of ``group``, itself among them."""
        layers = [self._layers[at][0] for at in self._touched.get(group, ())]
        return frozenset(span.group for layer in layers for span in (*layer.inputs, *layer.outputs))

    def _of(self, at: int, kept: Mapping[int, int]) -> float:
        layer, node, time, params = self._layers[at]
        reads, writes = _left(layer.inputs, self._groups, kept), _left(layer.outputs, self._groups, kept)
        both = writes if layer.depthwise else reads * writes
        return time * _time(layer, node, self._groups, kept) + params * both * node.params


def _time(layer: Layer, node: NodeCost, groups: Groups, kept: Mapping[int, int]) -> float:
    """In multiplications, those of tiles that are not full included."""
    reads, writes = (_entries(spans, groups, kept) for spans in (layer.inputs, layer.outputs))
    of_input, of_output = (_entries(spans, groups, {}) for spans in (layer.inputs, layer.outputs))
    whole = of_output if layer.depthwise else of_input * of_output
    tiled = _tiled(writes, OUTPUT_TILE) * (1 if layer.depthwise else _tiled(reads, INPUT_TILE))
    return node.macs / whole * tiled + VALUE_MACS * node.moved * (reads / of_input + writes / of_output) / 2


def _tiled(count: float, tile: int) -> float:
    return -(-count // tile) * tile


def _entries(spans: Spans, groups: Groups, kept: Mapping[int, int]) -> float:
    return sum(span.entries * kept.get(span.group, span.channels) / groups.sizes.get(span.group, span.channels) for span in spans)


def _left(spans: Spans, groups: Groups, kept: Mapping[int, int]) -> float:
    return _entries(spans, groups, kept) / _entries(spans, groups, {})
