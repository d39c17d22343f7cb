"""Channels of very different size made alike, so that one 8-bit scale serves them all.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1: each channel is scaled in
the layer that writes it and scaled back in the layers that read it, until what is written and what is read span the same range. Here for
whole groups of layers (residual sums share their factors), and with factors that are powers of two: floating point scales by these without
rounding, so the network's answers stay the same to the last bit.

Only groups whose channels are badly matched are touched. Channels behind ReLU6 cannot be scaled: it clips all of them at the same height.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.model import Graph, attributes, copied
from converters.passes.channels import ChannelGroup, channel_groups
from converters.passes.contract import Pass
from converters.passes.linear import linear_weights

SPREAD = 2.0
"""Leave a group alone when four fifths of its channels need factors within 2 to this power of each other: trained networks stay below 1.7,
and past 2 int8 begins to lose more than 6 dB."""
SWEEPS = 50
_NEGLIGIBLE = 10.0  # powers of two below the strongest channel
_SETTLED = 0.01
_LARGEST = 40.0  # no factor beyond 2 to this power, far from the ends of float32


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """Largest weight from each input to each output channel: (groups, outputs, inputs) of a convolution or dense layer."""

    largest: Any

    def written(self, inputs: Any) -> Any:
        """Range by output channel, when input channels have been scaled by 2 to the ``inputs``."""
        return (self.largest * np.exp2(-inputs).reshape(len(self.largest), 1, -1)).max(axis=2).reshape(-1)

    def read(self, outputs: Any) -> Any:
        """Range by input channel, when output channels have been scaled by 2 to the ``outputs``."""
        return (self.largest * np.exp2(outputs).reshape(len(self.largest), -1, 1)).max(axis=1).reshape(-1)


def equalise(graph: Graph) -> Graph:
    """An equivalent network with matched channels; the same one where all are matched well enough."""
    groups = channel_groups(graph)
    nodes = {node.output[0]: node for group in groups for node in (*group.writers, *group.readers)}
    reach = {name: _reach(node, graph) for name, node in nodes.items()}
    factors = _Factors(groups, reach)
    uneven = [i for i in range(len(groups)) if factors.spread(i) > SPREAD]
    for _ in range(SWEEPS if uneven else 0):
        if max(factors.settle(i) for i in uneven) < _SETTLED:
            break
    powers = [np.rint(power) for power in factors.powers]
    return rescaled(graph, groups, powers) if any(power.any() for power in powers) else graph


def rescaled(graph: Graph, groups: tuple[ChannelGroup, ...], powers: list[Any]) -> Graph:
    """``graph`` with the channels of each of ``groups`` multiplied by 2 to its ``powers`` (float64, one for each channel)."""
    out = {node.output[0]: power for group, power in zip(groups, powers, strict=True) for node in group.writers}
    into = {node.output[0]: power for group, power in zip(groups, powers, strict=True) for node in group.readers}
    nodes, arrays = [], {}
    for node in graph.nodes:
        name = node.output[0] if node.output else ""
        if not any(power is not None and power.any() for power in (out.get(name), into.get(name))):
            nodes.append(node)
            continue
        inputs, made = _scaled_inputs(node, graph, into.get(name), out.get(name))
        arrays.update(made)
        nodes.append(copied(node, inputs=inputs))
    return graph.edited(nodes, arrays)


class _Factors:
    """The factors chosen so far, as powers of two: one float64 array for each group, 0 at first."""

    def __init__(self, groups: tuple[ChannelGroup, ...], reach: Mapping[str, Reach]) -> None:
        self.powers: list[Any] = [np.zeros(group.channels) for group in groups]
        self._groups, self._reach = groups, reach
        self._out = {node.output[0]: i for i, group in enumerate(groups) for node in group.writers}
        self._into = {node.output[0]: i for i, group in enumerate(groups) for node in group.readers}

    def spread(self, index: int) -> float:
        """How far apart the factors of most channels have to be, in powers of two. A few odd channels do not count, nor do those whose
        product of both ranges, which no factor changes, says that they hardly take part."""
        written, read = self._ranges(index)
        part, wanted = read + written, (read - written) / 2
        alive = np.isfinite(part)
        if not alive.any():
            return 0.0
        taking_part = wanted[alive & (part > part[alive].max() - _NEGLIGIBLE)]
        return float(np.quantile(taking_part, 0.9) - np.quantile(taking_part, 0.1))

    def settle(self, index: int) -> float:
        """Matches one group; how much its factors changed. They keep their middle: tensors stay as large as they were."""
        written, read = self._ranges(index)
        wanted = (read - written) / 2
        alive = np.isfinite(wanted)
        if not alive.any():
            return 0.0
        change = np.where(alive, wanted - np.median(wanted[alive]), 0.0)
        before = self.powers[index]
        self.powers[index] = np.clip(before + change, -_LARGEST, _LARGEST)
        return float(np.abs(self.powers[index] - before).max())

    def _ranges(self, index: int) -> tuple[Any, Any]:
        """Ranges of the weights that write and read each channel of a group, as powers of two; infinite where a channel is dead."""
        group = self._groups[index]
        with np.errstate(divide="ignore"):
            written = np.mean([np.log2(self._written(node)) for node in group.writers], axis=0)
            return written, np.mean([np.log2(self._read(node, group.channels)) for node in group.readers], axis=0)

    def _written(self, node: Any) -> Any:
        name = node.output[0]
        return self._reach[name].written(self._inputs(name)) * np.exp2(self.powers[self._out[name]])

    def _read(self, node: Any, channels: int) -> Any:
        name = node.output[0]
        rows = self._reach[name].largest.shape[0] * self._reach[name].largest.shape[1]
        outputs = self.powers[self._out[name]] if name in self._out else np.zeros(rows)
        return (self._reach[name].read(outputs) * np.exp2(-self._inputs(name))).reshape(channels, -1).max(axis=1)

    def _inputs(self, name: str) -> Any:
        largest = self._reach[name].largest
        columns = largest.shape[0] * largest.shape[2]
        power = self.powers[self._into[name]] if name in self._into else np.zeros(1)
        return np.repeat(power, columns // len(power))


def _reach(node: Any, graph: Graph) -> Reach:
    weight = _by_output(node, graph)
    largest = np.abs(weight.astype(np.float64)).reshape(*weight.shape[:2], -1).max(axis=2)
    group = int(attributes(node).get("group", 1)) if node.op_type == "Conv" else 1
    return Reach(largest.reshape(group, -1, largest.shape[1]))


def _by_output(node: Any, graph: Graph) -> Any:
    """The weight with output channels first, input channels (of one group) second."""
    linear = linear_weights(node, graph.constants)
    assert linear is not None
    return np.moveaxis(linear.weight, linear.axis, 0)


def _scaled_inputs(node: Any, graph: Graph, into: Any, out: Any) -> tuple[list[str], dict[str, Any]]:
    """The inputs of a layer whose input channels are scaled by 2 to the ``into`` and whose output channels by 2 to the ``out``."""
    linear = linear_weights(node, graph.constants)
    assert linear is not None
    weight = _by_output(node, graph)
    group = int(attributes(node).get("group", 1)) if node.op_type == "Conv" else 1
    outputs, columns = weight.shape[0], weight.shape[1] * group
    up = np.zeros(outputs) if out is None else out
    down = np.zeros(columns) if into is None else np.repeat(into, columns // len(into))
    power = up.reshape(group, -1, 1) - down.reshape(group, 1, -1)
    power = power.reshape(outputs, weight.shape[1], *[1] * (weight.ndim - 2))
    stem = f"{node.output[0]}/equalised"
    made = {f"{stem}/weight": np.moveaxis(weight * np.exp2(power), 0, linear.axis).astype(linear.weight.dtype)}
    inputs = [node.input[0], f"{stem}/weight"]
    if len(node.input) > 2 and node.input[2]:
        inputs.append(f"{stem}/bias")
        made[f"{stem}/bias"] = (linear.bias * np.exp2(up)).astype(linear.weight.dtype)
    return inputs, made


EQUALISE = Pass("equalise", equalise)
