"""The ONNX graph that a PMML document becomes, written node by node, and columns of features that are joined into one matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from converters.loaders.pmml_xml import RefusedElement

X = "x"
ML_DOMAIN = "ai.onnx.ml"
MAX_NODES = 20_000
"""Functions of a document that call each other can ask for any number."""
OPSET, ML_OPSET, IR_VERSION = 13, 1, 7
"""Old on purpose: every runtime that devices carry reads them."""


@dataclass(frozen=True, slots=True)
class Column:
    """One number: ``(value - shift) * scale + offset`` of a column of ``source``; or, with ``equals``, 1 where the column has that code."""

    source: str
    index: int
    shift: float = 0.0
    scale: float = 1.0
    offset: float = 0.0
    equals: float | None = None

    @property
    def plain(self) -> bool:
        return self.equals is None and (self.shift, self.scale, self.offset) == (0.0, 1.0, 0.0)

    def times(self, factor: float) -> Column:
        return replace(self, scale=self.scale * factor, offset=self.offset * factor)

    def plus(self, addend: float) -> Column:
        if self.scale == 1.0 and self.offset == 0.0:
            return replace(self, shift=self.shift - addend)
        return replace(self, offset=self.offset + addend)


class Net:
    """Tensors are (1, width) float32; ``x`` is the model's input of ``inputs`` columns."""

    def __init__(self, inputs: int) -> None:
        self.widths: dict[str, int] = {X: inputs}
        self._inputs = inputs
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._count = 0

    def constant(self, array: Any, dtype: str = "float32") -> str:
        name = f"c{len(self._constants)}"
        self._constants[name] = np.asarray(array, dtype)
        return name

    def node(self, op: str, inputs: Sequence[str], width: int, *, domain: str = "", **attributes: Any) -> str:
        """The name of the tensor that the node writes, ``width`` columns wide."""
        return self.add(helper.make_node(op, list(inputs), [], domain=domain, **attributes), width)

    def add(self, node: Any, width: int) -> str:
        """A node made elsewhere, under names of ours."""
        if self._count >= MAX_NODES:
            raise RefusedElement(1, "PMML", f"asks for more than {MAX_NODES} operations")
        name = f"t{self._count}"
        self._count += 1
        node.name = f"{node.op_type.lower()}_{name}"
        del node.output[:]
        node.output.append(name)
        self._nodes.append(node)
        self.widths[name] = width
        return name

    def dense(self, source: str, weight: Any, bias: Any) -> str:
        """source W^T + b, with one row of ``weight`` for each output."""
        return self.node("Gemm", [source, self.constant(weight), self.constant(bias)], len(weight), transB=1)

    def full(self, value: float) -> Column:
        """A constant as a column."""
        return Column(self.node("Identity", [self.constant([[value]])], 1), 0)

    def matrix(self, columns: Sequence[Column]) -> str:
        """The columns side by side. Neighbours of one kind and source are computed together."""
        parts = [self._block(list(group)) for _, group in groupby(columns, lambda c: (c.source, c.equals is None))]
        if len(parts) == 1:
            return parts[0]
        return self.node("Concat", parts, len(columns), axis=1)

    def _block(self, columns: list[Column]) -> str:
        source, width = columns[0].source, len(columns)
        order = [column.index for column in columns]
        if order != list(range(self.widths[source])):
            source = self.node("Gather", [source, self.constant(order, "int64")], width, axis=1)
        if columns[0].equals is not None:
            codes = self.constant([[column.equals for column in columns]])
            source = self.node("Cast", [self.node("Equal", [source, codes], width)], width, to=TensorProto.FLOAT)
        for op, values, neutral in (
            ("Sub", [column.shift for column in columns], 0.0),
            ("Mul", [column.scale for column in columns], 1.0),
            ("Add", [column.offset for column in columns], 0.0),
        ):
            if any(value != neutral for value in values):
                source = self.node(op, [source, self.constant([values])], width)
        return source

    def model(self, result: str, name: str) -> Any:
        """The ``onnx.ModelProto`` with ``result`` as its output ``name``."""
        nodes, constants = self._needed(result)
        nodes.append(helper.make_node("Identity", [result], [name], name="result"))
        body = helper.make_graph(
            nodes,
            "pmml",
            [helper.make_tensor_value_info(X, TensorProto.FLOAT, [1, self._inputs])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, self.widths[result]])],
            [numpy_helper.from_array(array, key) for key, array in constants.items()],
        )
        opsets = [helper.make_opsetid("", OPSET)]
        if any(node.domain == ML_DOMAIN for node in nodes):
            opsets.append(helper.make_opsetid(ML_DOMAIN, ML_OPSET))
        return helper.make_model(body, opset_imports=opsets, producer_name="edge-convert", ir_version=IR_VERSION)

    def _needed(self, result: str) -> tuple[list[Any], dict[str, Any]]:
        """What ``result`` follows from: not every derived field is used."""
        wanted, kept = {result}, []
        for node in reversed(self._nodes):
            if node.output[0] in wanted:
                wanted.update(node.input)
                kept.append(node)
        return kept[::-1], {name: array for name, array in self._constants.items() if name in wanted}
