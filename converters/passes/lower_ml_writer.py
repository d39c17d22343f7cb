"""Where a lowering writes: nodes in order, constants beside them, names that follow from the node they replace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from converters.model import Graph
from edge_agent.values import TensorSpec

ML_DOMAIN = "ai.onnx.ml"
_WHOLE = ("int64", "int32")


class Writer:
    """``nodes`` and ``constants`` grow while a graph is rewritten; ``read`` are the tensors that somebody reads."""

    def __init__(self, graph: Graph, shapes: Mapping[str, TensorSpec], read: frozenset[str]) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.opset = graph.opset
        self.read = read
        self._held = graph.constants
        self._shapes = dict(shapes)

    def keep(self, node: Any) -> None:
        self.nodes.append(node)

    def constant(self, name: str, array: Any, dtype: str = "float32") -> str:
        self.constants[name] = np.asarray(array, dtype)
        return name

    def held(self, name: str) -> Any:
        """The constant called ``name``, or ``None`` where it is computed."""
        return self.constants.get(name, self._held.get(name))

    def producer(self, name: str) -> Any:
        """The node written so far that gives ``name``, or ``None``."""
        return next((node for node in reversed(self.nodes) if name in node.output), None)

    def rank(self, name: str) -> int | None:
        spec = self._shapes.get(name)
        return None if spec is None else len(spec.shape)

    def width(self, name: str) -> int | None:
        """The size of the last axis, where it is known."""
        spec = self._shapes.get(name)
        return spec.shape[-1] if spec is not None and spec.shape else None

    def dtype(self, name: str) -> str | None:
        spec = self._shapes.get(name)
        return None if spec is None else spec.dtype

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{output}/{op.lower()}", **attributes))
        return output

    def can_be_float(self, name: str) -> bool:
        """float64 is left to the operator itself: some of them compute in it."""
        return self.dtype(name) in ("float32", *_WHOLE)

    def as_float(self, name: str, stem: str) -> str:
        """``name`` in float32. Operators of the domain take whole numbers and answer in float32."""
        if self.dtype(name) == "float32":
            return name
        return self.node("Cast", [name], f"{stem}/float", to=TensorProto.FLOAT)
