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
from converters.targets.flatbuffer import TYPES, FlatModel, schema
from converters.targets.formats import FLOAT32, Format
from converters.targets.scales import Scale, activation_scale, least_scales, quantize_bias, quantize_weights, wide_scale
from converters.targets.tflite_storage import stored_weight

Order = tuple[int, ...]
CHANNELS_LAST: Order = (0, 2, 3, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Where a tensor is. ``columns`` is set for a flattened image kept channels-last: stored column k is ONNX column ``columns[k]``."""

    index: int
    order: Order
    columns: Any = None


class Canvas:
    """The file being written and where each ONNX tensor is in it.

    ``quantized`` says whether the node being written is computed in integers; it is set before each node. A float tensor may be stored
    as float, as codes with the scale in ``scales``, or as both: whoever asks for it the other way than it was written has it converted,
    once.
    """

    def __init__(self, graph: Graph, scales: Mapping[str, Scale] | None, form: Format = FLOAT32) -> None:
        self.graph = graph
        self.flat = FlatModel()
        self.words = schema()
        self.shapes = infer_shapes(graph)
        self.scales: Mapping[str, Scale] = scales or {}
        self.form = form
        self.quantized = False
        self._placed: dict[tuple[str, bool], Placed] = {}
        self._reshaped: dict[int, int] = {}  # what each changed shape was made from
        self._cache: dict[tuple[tuple[str, bool], Order], int] = {}

    def shape(self, name: str) -> tuple[int, ...]:
        """The fixed ONNX shape of tensor ``name``."""
        spec = self.shapes.get(name)
        if spec is None or any(size is None for size in spec.shape):
            raise UnsupportedOp(
                f"tensor {name} has no fixed shape, which TensorFlow Lite needs; fix the inputs with --shape, or try --target onnx"
            )
        return tuple(size for size in spec.shape if size is not None)

    def dtype(self, name: str) -> str:
        """The element type that ONNX tensor ``name`` has."""
        spec = self.shapes.get(name)
        return "float32" if spec is None else spec.dtype

    def placed(self, name: str) -> Placed:
        """Where tensor ``name`` is for the node being written, converted if it was there only the other way."""
        key = self._key(name)
        if key not in self._placed:
            other = self._elsewhere(name)
            self._placed[key] = Placed(self._crossed(name, other.index), other.order, other.columns)
        return self._placed[key]

    def scale(self, name: str) -> Scale | None:
        """The scale of tensor ``name`` in the node being written; ``None`` in a float node, and for what is not float in ONNX."""
        return self.scales.get(name) if self.quantized and self.dtype(name) == "float32" else None

    def begin(self) -> list[int]:
        """Writes the inputs as they are in ONNX."""
        indices = []
        for spec in self.graph.inputs:
            if spec.dtype not in TYPES or spec.dtype == "float16":
                raise UnsupportedOp(f"input {spec.name} is {spec.dtype}, which is not written for TensorFlow Lite; try --target onnx")
            shape = self.shape(spec.name)
            indices.append(self.flat.tensor(spec.name, shape, spec.dtype))
            self._placed[spec.name, False] = Placed(indices[-1], tuple(range(len(shape))))
        return indices

    def end(self) -> list[int]:
        """Writes the outputs under the names, in the element types and in the layout that ONNX has."""
        self.quantized = False
        taken = {self._placed[spec.name, False].index for spec in self.graph.inputs}
        indices: list[int] = []
        for spec in self.graph.outputs:
            shape = self.shape(spec.name)
            index = self.get(spec.name, tuple(range(len(shape))))
            if index in taken:  # one tensor cannot have two names
                index, shared = self.temporary(spec.name, shape, None, self.dtype(spec.name)), index
                self.reshape(shared, index)
            self.flat.rename(index, spec.name)
            indices.append(index)
            taken.add(index)
        return indices

    def put(self, name: str, order: Order, columns: Any = None) -> int:
        """A new tensor that will hold ONNX tensor ``name`` stored in ``order``."""
        shape, dtype = self.shape(name), self.dtype(name)
        if dtype not in TYPES or dtype == "float16":
            raise UnsupportedOp(f"tensor {name} is {dtype}, which is not computed for TensorFlow Lite; try --target onnx")
        index = self.temporary(name, [shape[axis] for axis in order], self.scale(name), self.dtype(name))
        self._placed[self._key(name)] = Placed(index, order, columns)
        return index

    def temporary(self, name: str, shape: Sequence[int], scale: Scale | None, dtype: str = "float32") -> int:
        """A new tensor that holds an activation under no ONNX name of its own: codes when it has a ``scale``, else of ``dtype``."""
        return self.flat.tensor(name, shape, dtype if scale is None else self.form.activations, scale)

    def view(self, name: str, index: int, order: Order) -> None:
        """ONNX tensor ``name`` is what is stored in ``index`` already."""
        self._placed[self._key(name)] = Placed(index, order)

    def get(self, name: str, order: Order) -> int:
        """The number of the tensor that holds ONNX tensor ``name`` stored in ``order``; written now if need be."""
        key = self._key(name)
        if key not in self._placed and not self.quantized:  # codes are rearranged before they are made real: a quarter of the bytes
            self._placed[key] = self._real_from_codes(name, order)
        placed = self.placed(name)
        if placed.order == order:
            return placed.index
        if (key, order) not in self._cache:
            self._cache[key, order] = self._rearranged(name, placed, order)
        return self._cache[key, order]

    def ints(self, values: Any) -> int:
        """A constant of whole numbers."""
        array = np.asarray(values, np.int32)
        return self.flat.constant("numbers", array)

    def reshape(self, index: int, target: int) -> None:
        """``target`` holds what tensor ``index`` does, in its own shape; of several such steps one is written."""
        index = self._reshaped.get(index, index)
        self._reshaped[target] = index
        shape = self.flat.shape(target)
        options = {"newShape": np.asarray(shape, np.int32)}
        self.flat.operator("RESHAPE", [index, self.ints(shape)], target, "ReshapeOptions", options)

    def weights(self, name: str, linear: LinearWeights, weight: Any, axis: int, source: str) -> tuple[int, int]:
        """Weight and bias tensors of a layer that reads ``source``; ``axis`` of ``weight`` (as it is stored) counts output channels."""
        if not self.quantized:
            made = stored_weight(self.flat, self.form, f"{name}/weight", weight, axis)
            return made, self.flat.constant(f"{name}/bias", linear.bias.astype(np.float32))
        quantized = quantize_weights(weight, axis, least_scales(linear.bias, self.scales[source].scale))
        made = self.flat.constant(f"{name}/weight", quantized.values, quantized.scales, axis)
        values, scales = quantize_bias(linear.bias, self.scales[source].scale, quantized.scales, self.form.bias)
        return made, self.flat.constant(f"{name}/bias", values, scales, 0)

    def operand(self, name: str, array: Any) -> int:
        """A constant that takes part in arithmetic with activations."""
        if not self.quantized:
            return self.flat.constant(name, array.astype(np.float32))
        extent = (float(array.min()), float(array.max()))
        scale = activation_scale(extent, signed=True) if self.form.activations == "int8" else wide_scale(extent)
        limits = np.iinfo(self.form.activations)
        codes = np.clip(np.rint(array / scale.scale) + scale.zero_point, limits.min, limits.max).astype(limits.dtype)
        return self.flat.constant(name, codes, [scale.scale], 0, scale.zero_point)

    def _key(self, name: str) -> tuple[str, bool]:
        return name, self.quantized and self.dtype(name) == "float32"

    def _elsewhere(self, name: str) -> Placed:
        """Where tensor ``name`` is the other way."""
        other = self._placed.get((name, not self.quantized))
        if other is None or self.dtype(name) != "float32":
            raise UnsupportedOp(f"tensor {name} is a constant where TensorFlow Lite computes one; try --target onnx")
        return other

    def _crossed(self, name: str, index: int) -> int:
        """Tensor ``index``, which holds ``name`` the other way, as the node being written wants it."""
        if self.quantized:
            target = self.temporary(f"{name}/codes", self.flat.shape(index), self.scales[name])
            self.flat.operator("QUANTIZE", [index], target, "QuantizeOptions")
        else:
            target = self.temporary(f"{name}/real", self.flat.shape(index), None)
            self.flat.operator("DEQUANTIZE", [index], target, "DequantizeOptions", version=2)
        return target

    def _real_from_codes(self, name: str, order: Order) -> Placed:
        other = self._elsewhere(name)
        self.quantized = True
        index = self.get(name, order)
        self.quantized = False
        return Placed(self._crossed(name, index), order, other.columns if order == other.order else None)

    def _rearranged(self, name: str, placed: Placed, order: Order) -> int:
        shape = self.shape(name)
        stored = [shape[axis] for axis in order]
        target = self.temporary(f"{name}/{'x'.join(map(str, order))}", stored, self.scale(name), self.dtype(name))
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
