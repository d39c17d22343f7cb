"""Nodes and constants that take the place of one node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from onnx import helper


class Draft:
    """Nodes being written under the name of tensor ``stem``; each new tensor is called after it."""

    def __init__(self, stem: str) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self._stem = stem

    def constant(self, array: Any, dtype: str = "float32") -> str:
        name = f"{self._stem}/constant{len(self.constants)}"
        self.constants[name] = np.asarray(array, dtype)
        return name

    def node(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """One node; it writes ``output``, or a tensor of its own. An operator with several outputs is written by :meth:`parts`."""
        target = output or f"{self._stem}/step{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [target], name=target, **attributes))
        return target

    def parts(self, x: str, axis: int, sizes: Iterable[int]) -> list[str]:
        """``x`` cut along ``axis`` into pieces of these ``sizes``."""
        found = [int(size) for size in sizes]
        if len(found) == 1:
            return [x]
        names = [f"{self._stem}/step{len(self.nodes)}_{number}" for number in range(len(found))]
        self.nodes.append(helper.make_node("Split", [x, self.constant(found, "int64")], names, name=names[0], axis=axis))
        return names

    def reshape(self, x: str, shape: Iterable[int], output: str = "") -> str:
        return self.node("Reshape", x, self.constant(list(shape), "int64"), output=output)
