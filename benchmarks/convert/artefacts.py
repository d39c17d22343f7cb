"""Model files of every quality made of one float network, as mistakes of converters make them: for judging a judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from converters.calibrate.ranges import Range
from converters.model import Graph, to_bytes
from converters.targets.onnx_qdq import emit_onnx_int8

NOISE = tuple(float(level) for level in np.geomspace(0.03, 0.3, 10))
DRAWS = 3
"""Deviation of the noise added to weights, as a share of the weights' own, and how often each is drawn: most lose about as much as may be
lost, where judging is hard."""
BITS = (2, 3, 4, 5)
TOO_NARROW, TOO_WIDE = (0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9), (4.0, 8.0, 16.0, 24.0, 32.0, 50.0)
"""Ranges of activations as multiples of the right ones; 50 is what one wild sample among the calibration's does."""
CUT = (0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.4)
"""Share of each layer's channels set to zero, the smallest first, with nothing refitted."""


def artefacts(graph: Graph, ranges: Mapping[str, Range], seed: int) -> Iterator[tuple[str, bytes]]:
    """Name and ONNX file of each, none twice (a small share of few channels is none of them)."""
    seen: set[bytes] = set()
    for name, data in _all(graph, ranges, seed):
        if data not in seen:
            seen.add(data)
            yield name, data


def _all(graph: Graph, ranges: Mapping[str, Range], seed: int) -> Iterator[tuple[str, bytes]]:
    draw = np.random.default_rng(seed)
    names = _weights(graph)
    for at, level in enumerate(NOISE * DRAWS):
        yield (
            f"noise {level:.3f}, draw {at // len(NOISE)}",
            _with(graph, {name: _noisy(graph.constants[name], level, draw) for name in names}),
        )
    for bits in BITS:
        for way, kept in (("", 0), (" by channel", 1)):
            yield f"{bits} bits{way}", _with(graph, {name: _rounded(graph.constants[name], bits, kept) for name in names})
    for factor in (*TOO_NARROW, *TOO_WIDE):
        scaled = {name: (low * factor, high * factor) for name, (low, high) in ranges.items()}
        yield f"int8, ranges times {factor:g}", emit_onnx_int8(graph, scaled)
    for share in CUT:
        yield f"{100 * share:.0f} % of channels cut", _with(graph, {name: _cut(graph.constants[name], share) for name in names[:-1]})
    yield "int8", emit_onnx_int8(graph, ranges)


def _weights(graph: Graph) -> list[str]:
    """Names of the weights of convolutions and dense layers, in order."""
    return [node.input[1] for node in graph.nodes if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in graph.constants]


def _with(graph: Graph, weights: Mapping[str, Any]) -> bytes:
    return to_bytes(graph.edited(graph.nodes, constants={name: array.astype(np.float32) for name, array in weights.items()}))


def _noisy(weights: Any, level: float, draw: Any) -> Any:
    return weights + draw.normal(0, level * weights.std(), weights.shape)


def _rounded(weights: Any, bits: int, kept: int) -> Any:
    """A step for all weights, or with 1 ``kept`` axis for each channel."""
    axes = tuple(range(kept, weights.ndim))
    step = np.abs(weights).max(axes, keepdims=True) / (2 ** (bits - 1) - 1)
    return np.rint(weights / np.maximum(step, 1e-12)) * step


def _cut(weights: Any, share: float) -> Any:
    size = np.abs(weights).sum(tuple(range(1, weights.ndim)))
    kept = weights.copy()
    kept[np.argsort(size, kind="stable")[: int(len(size) * share)]] = 0
    return kept
