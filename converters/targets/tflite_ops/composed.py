"""Operators that TensorFlow Lite has no word for, said with several of its own. All of them in float: none has a range of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.model import attributes
from converters.targets.tflite_canvas import Canvas, Order
from converters.targets.tflite_ops.lowering import constant, refuse, whole_numbers, write

_OPTIONS = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions", "DIV": "DivOptions", "MAXIMUM": "MaximumMinimumOptions"}
_ERF_LINEAR = 0.3275911
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


class Sketch:
    """Float tensors of one shape after another, computed for ``result`` in the order of its source."""

    def __init__(self, canvas: Canvas, source: str, result: str) -> None:
        self._canvas, self._result = canvas, result
        self.order: Order = canvas.placed(source).order
        self.start = canvas.get(source, self.order)
        self._count = 0

    def apply(self, code: str, *inputs: Any, target: int | None = None) -> int:
        """One operator of tensors (numbers of them) and constants (arrays and floats), into ``target`` or a tensor of its own."""
        indices = [self._index(value) for value in inputs]
        if target is None:
            shape = np.broadcast_shapes(*(self._canvas.flat.shape(index) for index in indices))
            target = self._new(shape)
        values: dict[str, Any] = {"fusedActivationFunction": "NONE"} if code in ("ADD", "SUB", "MUL", "DIV") else {}
        write(self._canvas, code, indices, target, _OPTIONS.get(code, ""), **values)
        return target

    def reduced(self, code: str, index: int, axes: Sequence[int], target: int | None = None, *, keep: bool = True) -> int:
        """Along the ONNX ``axes``, which stay with size 1."""
        places = sorted(self.order.index(axis) for axis in axes)
        shape = tuple(1 if place in places else size for place, size in enumerate(self._canvas.flat.shape(index)))
        made = self._new(shape) if target is None else target
        write(self._canvas, code, [index, self._canvas.ints(places)], made, "ReducerOptions", keepDims=keep)
        return made

    def put(self) -> int:
        return self._canvas.put(self._result, self.order)

    def stored(self, array: Any) -> Any:
        """A constant that broadcasts against the ONNX shape, for the stored one."""
        return array.reshape((1,) * (len(self.order) - array.ndim) + array.shape).transpose(self.order)

    def _new(self, shape: Sequence[int]) -> int:
        self._count += 1
        return self._canvas.temporary(f"{self._result}/step{self._count}", shape, None)

    def _index(self, value: Any) -> int:
        if isinstance(value, int):
            return value
        return self._canvas.flat.constant(f"{self._result}/number", np.asarray(value, np.float32))


def reciprocal(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    sketch = Sketch(canvas, node.input[0], result)
    sketch.apply("DIV", 1.0, sketch.start, target=sketch.put())


def softplus(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    """log(1 + exp(x)) as max(x, 0) + log(1 + exp(-|x|)), which does not overflow."""
    sketch = Sketch(canvas, node.input[0], result)
    tail = sketch.apply("EXP", sketch.apply("NEG", sketch.apply("ABS", sketch.start)))
    log = sketch.apply("LOG", sketch.apply("ADD", tail, 1.0))
    sketch.apply("ADD", sketch.apply("RELU", sketch.start), log, target=sketch.put())


def erf(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    """Right to 5e-7 (Abramowitz and Stegun 1964, formula 7.1.26, and float32 rounding)."""
    sketch = Sketch(canvas, node.input[0], result)
    size = sketch.apply("ABS", sketch.start)
    t = sketch.apply("DIV", 1.0, sketch.apply("ADD", sketch.apply("MUL", size, _ERF_LINEAR), 1.0))
    total = sketch.apply("MUL", t, _ERF[-1])
    for factor in reversed(_ERF[:-1]):
        total = sketch.apply("MUL", sketch.apply("ADD", total, factor), t)
    bell = sketch.apply("EXP", sketch.apply("NEG", sketch.apply("MUL", size, size)))
    positive = sketch.apply("SUB", 1.0, sketch.apply("MUL", total, bell))
    sketch.apply("MUL", positive, sketch.apply("SIGN", sketch.start), target=sketch.put())


def layer_norm(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    """Ba, Kiros and Hinton 2016, over the last axes from ``axis`` on."""
    if any(node.output[1:]):
        raise refuse(node, "its mean or deviation is read")
    rank, options = len(canvas.shape(node.input[0])), attributes(node)
    axes = list(range(int(options.get("axis", -1)) % rank, rank))
    scale, bias = constant(canvas, node, 1), constant(canvas, node, 2)
    _normalized(Sketch(canvas, node.input[0], result), axes, options.get("epsilon", 1e-5), scale, bias)


def instance_norm(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    """Ulyanov, Vedaldi and Lempitsky 2016: each channel of each sample by itself."""
    rank = len(canvas.shape(node.input[0]))
    scale, bias = (constant(canvas, node, place).reshape(-1, *(1,) * (rank - 2)) for place in (1, 2))
    _normalized(Sketch(canvas, node.input[0], result), list(range(2, rank)), attributes(node).get("epsilon", 1e-5), scale, bias)


def _normalized(sketch: Sketch, axes: list[int], epsilon: float, scale: Any, bias: Any) -> None:
    centred = sketch.apply("SUB", sketch.start, sketch.reduced("MEAN", sketch.start, axes))
    variance = sketch.reduced("MEAN", sketch.apply("MUL", centred, centred), axes)
    factor = sketch.apply("RSQRT", sketch.apply("ADD", variance, epsilon))
    target = sketch.put()
    if bias is None:
        sketch.apply("MUL", sketch.apply("MUL", centred, factor), sketch.stored(scale), target=target)
        return
    scaled = sketch.apply("MUL", sketch.apply("MUL", centred, factor), sketch.stored(scale))
    sketch.apply("ADD", scaled, sketch.stored(bias), target=target)


def l2(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    rank, options = len(canvas.shape(node.input[0])), attributes(node)
    axes = [axis % rank for axis in whole_numbers(canvas, node, 1, "axes") or range(rank)]
    if not options.get("keepdims", 1):
        raise refuse(node, "it drops the dimensions it sums over")
    sketch = Sketch(canvas, node.input[0], result)
    total = sketch.reduced("SUM", sketch.apply("MUL", sketch.start, sketch.start), axes)
    sketch.apply("SQRT", total, target=sketch.put())
