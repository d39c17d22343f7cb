"""One walk through the original network: what every layer reads and writes on the samples, kept as little as recovery needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.model import Graph
from converters.prune.groups import Groups, Layer
from converters.prune.rows import MAX_INPUTS, MAX_TARGET_BYTES, Window, input_rows, output_rows, places_of, sampled_places, window_of
from converters.prune.walk import Walk
from edge_agent.errors import ModelError

MAX_HELD_BYTES = 1 << 30
"""Of what is held of all layers at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Of one layer: where it was looked at, and ``target``, float32 (rows, output channels), what it wrote there.

    ``partner``: the other side of the Add behind it, where that is computed earlier; ``target`` is then the sum, so that the layer can make
    up for what its partner lost. ``low`` and ``high``: where a rectifier behind it makes smaller and larger targets all the same.
    ``moments``: second moments of its inputs and a constant 1, float32 (inputs + 1, inputs + 1), or ``None`` for one that decides
    nothing or is too wide.
    """

    layer: Layer
    window: Window | None
    at: Any
    target: Any
    partner: str
    low: float
    high: float
    moments: Any


def observe(
    graph: Graph,
    groups: Groups,
    feeds: Sequence[Mapping[str, Any]],
    held_out: Any,
    seed: int,
    enough: Callable[[], bool],
) -> tuple[dict[int, Seen], list[Any]]:
    """What was seen of each layer by its node's index, and all outputs of each sample in one row. Moments leave the samples in the mask
    ``held_out`` out. Raises :class:`ModelError` where they would need too much memory, or there has been ``enough`` before the end."""
    _check_size(graph, groups)
    walk = Walk(graph, feeds, groups.shapes)
    seen = {}
    for layer in groups.layers:
        if enough():
            raise ModelError("the network is too large: time was up before all of its layers had been looked at")
        node = graph.nodes[layer.index]
        inputs = walk.to(layer.index)[node.input[0]]
        outputs = walk.to(layer.index + 1)[node.output[0]]
        seen[layer.index] = _look(graph, groups, layer, inputs, outputs, walk.held, held_out, seed)
    return seen, flat_outputs(graph, walk.end())


def _check_size(graph: Graph, groups: Groups) -> None:
    sizes = [graph.constants[graph.nodes[layer.index].input[1]] for layer in groups.layers if not layer.depthwise]
    inputs = [weight[0].size if weight.ndim > 2 else min(weight.shape) for weight in sizes]
    held = sum(4 * count**2 for count in inputs if count <= MAX_INPUTS) + len(groups.layers) * MAX_TARGET_BYTES // 4
    if held > MAX_HELD_BYTES:
        raise ModelError(f"the network is too large: what is held of its layers would take {held >> 20} MiB")


def flat_outputs(graph: Graph, held: Mapping[str, list[Any]]) -> list[Any]:
    """All float outputs of each sample in one float64 row."""
    names = [spec.name for spec in graph.outputs if spec.name in held]
    samples = zip(*(held[name] for name in names), strict=True)
    return [np.concatenate([np.asarray(array, np.float64).reshape(-1) for array in arrays]) for arrays in samples]


def row_mask(samples: Any, at: Any) -> Any:
    """A mask of samples as one of the rows that are taken of them at the places ``at``."""
    return np.repeat(samples, at.size // len(samples))


def layer_rows(seen: Seen, inputs: Sequence[Any]) -> Any:
    """The layer's inputs at its places: float32 (rows, channels, taps)."""
    return input_rows(inputs, seen.window, seen.at)


def with_one(rows: Any) -> Any:
    """Rows (rows, channels, taps) flat, channel by channel, and a column of ones for the bias."""
    return np.concatenate([rows.reshape(len(rows), -1), np.ones((len(rows), 1), rows.dtype)], axis=1)


def moments(rows: Any, chunk: int = 1024) -> Any:
    """``rows``' inner product with itself, float64; of float32 rows in pieces, whose products are close enough in float32."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk]
        total += part.T @ part
    return total


def _look(
    graph: Graph,
    groups: Groups,
    layer: Layer,
    inputs: list[Any],
    outputs: list[Any],
    held: Mapping[str, list[Any]],
    held_out: Any,
    seed: int,
) -> Seen:
    node = graph.nodes[layer.index]
    weight = graph.constants[node.input[1]]
    window = window_of(node, weight, inputs[0].shape[2:]) if node.op_type == "Conv" else None
    images = sum(len(array) for array in inputs)
    reads, writes = (weight[0].size if window else inputs[0].shape[1]), outputs[0].shape[1]
    at = sampled_places(images, places_of(outputs[0]), reads, writes, np.random.default_rng((seed, layer.index)))
    target = output_rows(outputs, at)
    name, partner = _partner(graph, node, held)
    if partner:
        target = target + output_rows(held[partner], at)
    low, high = _rectifier(graph, name)
    second = None
    if not layer.depthwise and _decides(groups, layer) and reads <= MAX_INPUTS:
        rows = with_one(input_rows(inputs, window, at))[~row_mask(held_out, at)]
        second = (moments(rows) / len(rows)).astype(np.float32)
    return Seen(layer, window, at, target, partner, low, high, second)


def _decides(groups: Groups, layer: Layer) -> bool:
    return any(span.group in groups.sizes for span in layer.inputs)


def _partner(graph: Graph, node: Any, held: Mapping[str, list[Any]]) -> tuple[str, str]:
    """The tensor that the target is of, and the other side of the Add that makes it."""
    own = node.output[0]
    readers = graph.consumers().get(own, [])
    if len(readers) == 1 and readers[0].op_type == "Add" and own not in graph.output_names():
        other = next((name for name in readers[0].input if name != own), "")
        same = other in held and held[other][0].shape == held[own][0].shape
        if same:
            return readers[0].output[0], other
    return own, ""


def _rectifier(graph: Graph, name: str) -> tuple[float, float]:
    """Between which values what follows ``name`` looks at it at all."""
    readers = graph.consumers().get(name, [])
    if len(readers) != 1 or name in graph.output_names():
        return -np.inf, np.inf
    if readers[0].op_type == "Relu":
        return 0.0, np.inf
    if readers[0].op_type == "Clip" and len(readers[0].input) > 1:
        bounds = [graph.constants.get(bound) if bound else None for bound in (*readers[0].input[1:], "")[:2]]
        low, high = (default if b is None else float(b) for b, default in zip(bounds, (-np.inf, np.inf), strict=True))
        return low, high
    return -np.inf, np.inf
