"""ONNX tensors laid out as TensorFlow Lite wants them.

ONNX keeps images channels-first (NCHW), TensorFlow Lite channels-last. A :class:`Placed` says how an ONNX tensor is stored: stored
dimension k is ONNX dimension ``order[k]``. Transposes in the source so become mere views, and one is written only where the storage
must really change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.errors import UnsupportedOp
from converters.model import Graph
from converters.passes.linear import LinearWeights
from converters.shapes import infer_shapes
from converters.targets.flatbuffer import FlatModel, schema
from converters.targets.scales import Scale, activation_scale, quantize_bias, quantize_weights

Order = tuple[int, ...]
CHANNELS_LAST: Order = (0, 2, 3, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Where a tensor is. ``columns`` is set for a flattened image kept channels-last: stored column k is ONNX column ``columns[k]``."""

    index: int
    order: Order
    columns: Any = None


class Canvas:
    """The file being written and where each ONNX tensor is in it. With ``scales`` everything is int8 between the float ends."""

    def __init__(self, graph: Graph, scales: Mapping[str, Scale] | None) -> None:
        self.graph = graph
        self.flat = FlatModel()
        self.words = schema()
        self.shapes = infer_shapes(graph)
        self.scales = scales
        self._placed: dict[str, Placed] = {}
        self._cache: dict[tuple[str, Order], int] = {}

    @property
    def quantized(self) -> bool:
        return self.scales is not None

    def shape(self, name: str) -> tuple[int, ...]:
        """The fixed ONNX shape of tensor ``name``."""
        spec = self.shapes.get(name)
        if spec is None or any(size is None for size in spec.shape):
            raise UnsupportedOp(f"tensor {name} has no fixed shape, which TensorFlow Lite needs; try --target onnx")
        return tuple(size for size in spec.shape if size is not None)

    def placed(self, name: str) -> Placed:
        if name not in self._placed:
            raise UnsupportedOp(f"tensor {name} is a constant where TensorFlow Lite computes one; try --target onnx")
        return self._placed[name]

    def scale(self, name: str) -> Scale | None:
        return None if self.scales is None else self.scales[name]

    def begin(self) -> list[int]:
        """Writes the float inputs, and the step to int8."""
        indices = []
        for spec in self.graph.inputs:
            if spec.dtype != "float32":
                raise UnsupportedOp(
                    f"input {spec.name} is {spec.dtype}; for TensorFlow Lite only float32 inputs are written; try --target onnx"
                )
            shape = self.shape(spec.name)
            index = self.flat.tensor(spec.name, shape, "float32")
            indices.append(index)
            if self.quantized:
                codes = self.flat.tensor(f"{spec.name}/codes", shape, "int8", self.scale(spec.name))
                self.flat.operator("QUANTIZE", [index], codes, "QuantizeOptions")
                index = codes
            self._placed[spec.name] = Placed(index, tuple(range(len(shape))))
        return indices

    def end(self) -> list[int]:
        """Writes the float outputs under the names and in the layout that ONNX has."""
        indices = []
        for spec in self.graph.outputs:
            shape = self.shape(spec.name)
            index = self.get(spec.name, tuple(range(len(shape))))
            if self.quantized:
                real = self.flat.tensor(spec.name, shape, "float32")
                self.flat.operator("DEQUANTIZE", [index], real, "DequantizeOptions", version=2)
                index = real
            self.flat.rename(index, spec.name)
            indices.append(index)
        return indices

    def put(self, name: str, order: Order, columns: Any = None) -> int:
        """A new tensor that will hold ONNX tensor ``name`` stored in ``order``."""
        shape = self.shape(name)
        index = self.temporary(name, [shape[axis] for axis in order], self.scale(name))
        self._placed[name] = Placed(index, order, columns)
        return index

    def temporary(self, name: str, shape: Sequence[int], scale: Scale | None) -> int:
        """A new tensor that holds an activation under no ONNX name of its own."""
        return self.flat.tensor(name, shape, "float32" if scale is None else "int8", scale)

    def view(self, name: str, index: int, order: Order) -> None:
        """ONNX tensor ``name`` is what is stored in ``index`` already."""
        self._placed[name] = Placed(index, order)

    def get(self, name: str, order: Order) -> int:
        """The number of the tensor that holds ONNX tensor ``name`` stored in ``order``; written now if need be."""
        placed = self.placed(name)
        if placed.order == order:
            return placed.index
        if (name, order) not in self._cache:
            self._cache[name, order] = self._rearranged(name, placed, order)
        return self._cache[name, order]

    def ints(self, values: Any) -> int:
        """A constant of whole numbers."""
        array = np.asarray(values, np.int32)
        return self.flat.constant("numbers", array)

    def reshape(self, index: int, target: int) -> None:
        shape = self.flat.shape(target)
        options = {"newShape": np.asarray(shape, np.int32)}
        self.flat.operator("RESHAPE", [index, self.ints(shape)], target, "ReshapeOptions", options)

    def weights(self, name: str, linear: LinearWeights, weight: Any, axis: int, source: str) -> tuple[int, int]:
        """Weight and bias tensors of a layer that reads ``source``; ``axis`` of ``weight`` (as it is stored) counts output channels."""
        if self.scales is None:
            made = self.flat.constant(f"{name}/weight", weight.astype(np.float32))
            return made, self.flat.constant(f"{name}/bias", linear.bias.astype(np.float32))
        quantized = quantize_weights(weight, axis)
        made = self.flat.constant(f"{name}/weight", quantized.values, quantized.scales, axis)
        values, scales = quantize_bias(linear.bias, self.scales[source].scale, quantized.scales)
        return made, self.flat.constant(f"{name}/bias", values, scales, 0)

    def operand(self, name: str, array: Any) -> int:
        """A constant that takes part in arithmetic with activations."""
        if self.scales is None:
            return self.flat.constant(name, array.astype(np.float32))
        scale = activation_scale((float(array.min()), float(array.max())), signed=True)
        codes = np.clip(np.rint(array / scale.scale) + scale.zero_point, -128, 127).astype(np.int8)
        return self.flat.constant(name, codes, [scale.scale], 0, scale.zero_point)

    def _rearranged(self, name: str, placed: Placed, order: Order) -> int:
        shape = self.shape(name)
        target = self.temporary(f"{name}/{'x'.join(map(str, order))}", [shape[axis] for axis in order], self.scale(name))
        if only_ones_move(shape, placed.order, order):
            self.reshape(placed.index, target)
        else:
            moves = [placed.order.index(axis) for axis in order]
            self.flat.operator(
                "TRANSPOSE", [placed.index, self.ints(moves)], target, "TransposeOptions", version=2 if self.quantized else 1
            )
        return target


def only_ones_move(shape: Sequence[int], stored: Order, wanted: Order) -> bool:
    """Whether both orders lay the same bytes out alike, because only dimensions of size 1 change places."""
    return [axis for axis in stored if shape[axis] != 1] == [axis for axis in wanted if shape[axis] != 1]
