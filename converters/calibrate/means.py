"""The mean of every channel of the tensors that layers read, one sample at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from converters.model import ONNX_DOMAINS, Graph

AXES: Mapping[str, int] = {"Conv": 1, "Gemm": 1, "MatMul": -1}
"""Where the first input of a layer has its channels."""


def channel_axes(graph: Graph) -> dict[str, int]:
    """The tensors that layers with constant weights read, and the axis of their channels; the first reader decides."""
    axes: dict[str, int] = {}
    for node in graph.nodes:
        layer = node.op_type in AXES and node.domain in ONNX_DOMAINS and node.input[1] in graph.constants
        if layer and node.input[0] not in graph.constants:
            axes.setdefault(node.input[0], AXES[node.op_type])
    return axes


class Means:
    """Sums over the samples seen, for the tensors and channel axes in ``axes``."""

    def __init__(self, axes: Mapping[str, int]) -> None:
        self._axes = dict(axes)
        self._sums: dict[str, Any] = {}
        self._count = 0

    def watching(self, found: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """Passes on what was ``found`` in each sample and adds it up."""
        for values in found:
            for name, axis in self._axes.items():
                mean = _by_channel(values[name], axis)
                self._sums[name] = self._sums[name] + mean if name in self._sums else mean
            self._count += 1
            yield values

    def result(self) -> dict[str, Any]:
        """Means over the samples by tensor: float64, one number for each channel."""
        return {name: total / self._count for name, total in self._sums.items()}


def _by_channel(value: Any, axis: int) -> Any:
    if value.ndim < 2:
        return value.astype(np.float64).reshape(-1)
    axis %= value.ndim
    others = tuple(i for i in range(value.ndim) if i != axis)
    return value.mean(axis=others, dtype=np.float64)
