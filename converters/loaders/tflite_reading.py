"""The network being made of a TensorFlow Lite file: ONNX nodes so far, and what each tensor of the file is called among them.

Every tensor keeps the layout it has in the file (images channels-last); an operator that ONNX defines for channels-first images gets a
Transpose on either side, which the passes then take out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import helper

from converters.loaders.tflite_file import FlatFile, FlatOperator, NotRead
from converters.model import Graph
from edge_agent.values import DTYPES, TensorSpec

OPSET = 17
CHANNELS_FIRST = (0, 3, 1, 2)
CHANNELS_LAST = (0, 2, 3, 1)
_SPARE_BYTES = 1 << 20
_GROWTH = 16
"""Constants may grow by so much when they become real numbers; a damaged file can name the same values many times."""


class Reading:
    """Nodes and constants so far. Readers of operators call :meth:`give` for what they understood."""

    def __init__(self, file: FlatFile, size_bytes: int) -> None:
        self.file = file
        self.notes: list[str] = []
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._arrays: dict[int, Any] = {}
        self._left_bytes = size_bytes * _GROWTH + _SPARE_BYTES
        self._names = _names(file)
        self._used = set(self._names)
        self._turned: dict[int, str] = {}
        self._known = set(file.inputs)

    def shape(self, index: int) -> tuple[int, ...]:
        return self.file.tensors[index].shape

    def name(self, index: int) -> str:
        return self._names[index]

    def array(self, index: int) -> Any:
        """The real numbers of a constant, ``None`` for a computed tensor."""
        tensor = self.file.tensors[index]
        if index in self._arrays:
            return self._arrays[index]
        if index < 0 or not tensor.constant:
            return None
        if tensor.sparse or tensor.dtype not in DTYPES:
            raise NotRead(f"tensor {tensor.name} is stored as {'sparse ' if tensor.sparse else ''}{tensor.dtype}, which is not read")
        count = math.prod(tensor.shape)
        if count * DTYPES[tensor.dtype] != len(tensor.data):
            raise NotRead(f"the file is damaged (tensor {tensor.name} has {len(tensor.data)} bytes for shape {tensor.shape})")
        self._left_bytes -= count * 4
        if self._left_bytes < 0:
            raise NotRead("the file is damaged (the same values stand for too many tensors)")
        array = np.frombuffer(tensor.data, np.dtype(tensor.dtype).newbyteorder("<")).reshape(tensor.shape)
        self.hold(index, _real(array, tensor))
        return self._arrays[index]

    def hold(self, index: int, array: Any) -> None:
        """Tensor ``index`` is known to be ``array``, whatever the inputs."""
        self._arrays[index] = array
        self._known.add(index)

    def value(self, index: int) -> str:
        """The name under which a node reads tensor ``index``."""
        if index < 0:
            return ""
        array = self.array(index)
        if array is not None:
            self._constants[self._names[index]] = array
        elif index not in self._known:
            raise NotRead(f"tensor {self._names[index]} is read before it is computed")
        return self._names[index]

    def channels_first(self, index: int) -> str:
        """The name of image ``index`` with its channels in front."""
        self.rank(index, 4)
        if index not in self._turned:
            self._turned[index] = self.add("Transpose", [self.value(index)], f"{self._names[index]}/first", perm=CHANNELS_FIRST)
        return self._turned[index]

    def rank(self, index: int, rank: int) -> None:
        if len(self.shape(index)) != rank:
            raise NotRead(f"tensor {self._names[index]} has {len(self.shape(index))} dimensions where {rank} are expected")

    def constant(self, array: Any, stem: str) -> str:
        name = self.fresh(stem)
        self._constants[name] = np.asarray(array)
        return name

    def numbers(self, values: Any) -> str:
        """A constant of whole numbers, as ONNX takes axes and shapes."""
        return self.constant(np.asarray(values, np.int64), "numbers")

    def add(self, kind: str, inputs: list[str], stem: str, **attributes: Any) -> str:
        """A node that writes a tensor the file does not have; its name is given back."""
        name = self.fresh(stem)
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def give(self, output: int, kind: str, inputs: list[str], *, rectifier: int = 0, turned: bool = False, **attributes: Any) -> None:
        """The node that computes tensor ``output``; its fused ``rectifier`` and, with ``turned``, the way back to channels-last follow."""
        chain: list[tuple[str, list[str], dict[str, Any]]] = [(kind, inputs, attributes)]
        if rectifier:
            chain.append(self._rectifier(rectifier))
        if turned:
            chain.append(("Transpose", [], {"perm": CHANNELS_LAST}))
        target, before = self._names[output], ""
        for step, (word, more, values) in enumerate(chain):
            last = step == len(chain) - 1
            name = target if last else self.fresh(f"{target}/{word}")
            self._nodes.append(helper.make_node(word, [before, *more] if before else more, [name], **values))
            before = name
        self.wrote(output)

    def give_all(self, outputs: tuple[int, ...], kind: str, inputs: list[str], **attributes: Any) -> None:
        """A node with several outputs of the file."""
        self._nodes.append(helper.make_node(kind, inputs, [self._names[index] for index in outputs], **attributes))
        for index in outputs:
            self.wrote(index)

    def wrote(self, index: int) -> None:
        if index < 0 or index in self._known or self.file.tensors[index].constant:
            raise NotRead("the file is damaged (a tensor is computed twice)")
        self._known.add(index)

    def fresh(self, stem: str) -> str:
        """A name that no tensor has yet."""
        name, count = stem, 1
        while name in self._used:
            count += 1
            name = f"{stem}_{count}"
        self._used.add(name)
        return name

    def graph(self) -> Graph:
        """The network, without what no output needs."""
        for index in self.file.outputs:
            if self.array(index) is not None:
                source = self.constant(self._arrays[index], f"{self._names[index]}/value")
                self._nodes.append(helper.make_node("Identity", [source], [self._names[index]]))
            elif index not in self._known:
                raise NotRead(f"output {self._names[index]} is never computed")
        whole = Graph((), self._constants, self._specs(self.file.inputs), self._specs(self.file.outputs), OPSET, {})
        return whole.edited(_needed(self._nodes, whole.output_names()))

    def _specs(self, indices: tuple[int, ...]) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(self._names[i], self.file.tensors[i].dtype, self.shape(i)) for i in indices)

    def _rectifier(self, number: int) -> tuple[str, list[str], dict[str, Any]]:
        """ActivationFunctionType of schema.fbs."""
        if number == 1:
            return "Relu", [], {}
        bounds = {2: (-1.0, 1.0), 3: (0.0, 6.0)}.get(number)
        if bounds is None:
            raise NotRead(f"fused activation {number} is not read")
        return "Clip", [self.constant(np.float32(bound), "bound") for bound in bounds], {}


def _real(array: Any, tensor: Any) -> Any:
    """Stored numbers as real ones: real = (stored - zero point) * scale, along an axis where there are several scales."""
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if not tensor.quantized or array.dtype.kind == "f":
        return array.astype(array.dtype.newbyteorder("="))
    form = [1] * array.ndim
    if len(tensor.scales) > 1:
        if not 0 <= tensor.axis < array.ndim or array.shape[tensor.axis] != len(tensor.scales):
            raise NotRead(f"the file is damaged (the scales of tensor {tensor.name} do not fit its shape)")
        form[tensor.axis] = -1
    scales, zeros = np.reshape(tensor.scales, form), np.reshape(tensor.zero_points, form)
    return ((array.astype(np.int64) - zeros) * scales.astype(np.float64)).astype(np.float32)


def _names(file: FlatFile) -> list[str]:
    """One name for each tensor, all different; inputs and outputs keep theirs."""
    ends = [*file.inputs, *(index for index in file.outputs if index not in file.inputs)]
    shown = [file.tensors[index].name for index in ends]
    if (
        not all(shown)
        or len(set(shown)) != len(shown)
        or len(set(file.outputs)) != len(file.outputs)
        or set(file.inputs) & set(file.outputs)
    ):
        raise NotRead("its inputs and outputs do not each have a name of their own")
    used, names = set(shown), []
    for index, tensor in enumerate(file.tensors):
        name = tensor.name or f"tensor{index}"
        if index not in ends and name in used:
            name = f"{name}#{index}"
        used.add(name)
        names.append(name)
    if len(set(names)) != len(names):
        raise NotRead("two of its tensors cannot be told apart by name")
    return names


def _needed(nodes: list[Any], outputs: frozenset[str]) -> list[Any]:
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]


def constant_of(reading: Reading, operator: FlatOperator, place: int) -> Any:
    """Input ``place`` of an operator, which must be a constant."""
    index = operator.inputs[place] if place < len(operator.inputs) else -1
    array = reading.array(index) if index >= 0 else None
    if array is None:
        raise NotRead(f"operator {operator.code}: its input {place} is not a constant")
    return array
