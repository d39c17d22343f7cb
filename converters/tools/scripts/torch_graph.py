"""A network from an ONNX file, run and trained by PyTorch without any exporter between."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converters.tools.scripts.keras_code import Refused
from converters.tools.scripts.torch_ops import table

_LEARNS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (0, 1),
    "Add": (0, 1),
    "PRelu": (1,),
    "BatchNormalization": (1, 2),
}
"""Inputs of an operator that are weights when they are constants. Limits, sizes, and factors such as of a normalisation stay."""
_SOFT = ("Softmax", "LogSoftmax")


class Network:
    """``constants`` by name as tensors; ``weights`` are those that learn. ``outputs`` are in the file's order."""

    def __init__(self, path: Path) -> None:
        import onnx
        import torch
        from onnx import helper, numpy_helper

        model = onnx.load(str(path))
        self._table = table()
        self.nodes = [(n, {a.name: helper.get_attribute_value(a) for a in n.attribute}) for n in model.graph.node]
        strange = sorted({n.op_type for n, _ in self.nodes if n.op_type not in self._table and n.op_type != "Constant"})
        if strange:
            raise Refused(f"cannot be trained here: {', '.join(strange)} is not among the operators that can")
        self.constants = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in model.graph.initializer}
        for node, attributes in self.nodes:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = torch.from_numpy(numpy_helper.to_array(attributes["value"]).copy())
        self.outputs = [value.name for value in model.graph.output]
        self.weights = sorted(self._weights())

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Every tensor by name, for a batch of questions at once."""
        held: dict[str, Any] = {**self.constants, **feeds}
        for node, attributes in self.nodes:
            if node.op_type != "Constant":
                inputs = [held[name] if name else None for name in node.input]
                held[node.output[0]] = self._table[node.op_type](attributes, inputs)
        return held

    def scores(self) -> tuple[str, bool]:
        """What to learn of the first output: the tensor, and whether it is scores of classes, which a softmax follows."""
        made = {name: node for node, _ in self.nodes for name in node.output}
        last = made.get(self.outputs[0])
        while last is not None and last.op_type == "Identity":
            last = made.get(last.input[0])
        if last is not None and last.op_type in _SOFT:
            return last.input[0], True
        return self.outputs[0], False

    def _weights(self) -> set[str]:
        """Constants that learn: those that something reads as a weight, and nothing as anything else."""
        learn: set[str] = set()
        stay: set[str] = set()
        for node, _ in self.nodes:
            for at, name in enumerate(node.input):
                value = self.constants.get(name)
                if value is not None:
                    learns = at in _LEARNS.get(node.op_type, ()) and value.is_floating_point() and value.numel() > 1
                    (learn if learns else stay).add(name)
        return learn - stay
