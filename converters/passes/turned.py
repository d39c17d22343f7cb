"""Operators computed on a transposed tensor instead of the one they were written for.

If y = op(Transpose(x, perm)), each function here gives op' and perm' with y = Transpose(op'(x), perm'). Axis k of the transposed tensor
is axis ``perm[k]`` of ``x``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from onnx import helper

from converters.model import attributes

Perm = tuple[int, ...]


class Names(Protocol):
    """Where turned constants and new names come from."""

    def known(self, name: str) -> Any: ...
    def constant(self, name: str, array: Any) -> str: ...
    def fresh(self, name: str) -> str: ...


@dataclass(frozen=True, slots=True, eq=False)
class Turned:
    """``node`` computes what has to be transposed by ``perm``."""

    node: Any
    perm: Perm


Turn = Callable[[Any, list[str], Perm, Names], "Turned | None"]


def inverse(perm: Perm) -> Perm:
    return tuple(perm.index(axis) for axis in range(len(perm)))


def _alike(node: Any, inputs: list[str], perm: Perm, names: Names) -> Turned | None:
    """Element by element; a constant is laid out like the rest. A tensor of lower rank would be broadcast along other axes."""
    read: list[str] = []
    for name in inputs:
        array = names.known(name) if name else None
        if array is None:
            read.append(name)
        elif array.size == 1 and array.ndim <= len(perm):
            read.append(name if array.ndim == 0 else names.constant(name, array.reshape(())))
        elif array.ndim <= len(perm):
            full = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
            read.append(names.constant(name, full.transpose(inverse(perm))))
        else:
            return None
    return Turned(_remade(node, read, names), perm)


def _first(node: Any, inputs: list[str], perm: Perm, names: Names) -> Turned | None:
    """Only the first input has axes; the others are numbers (bounds of Clip)."""
    return Turned(_remade(node, inputs, names), perm)


def _concat(node: Any, inputs: list[str], perm: Perm, names: Names) -> Turned | None:
    if any(names.known(name) is not None for name in inputs):
        return None
    axis = perm[int(attributes(node)["axis"]) % len(perm)]
    return Turned(_remade(node, inputs, names, axis=axis), perm)


def _split(node: Any, inputs: list[str], perm: Perm, names: Names) -> Turned | None:
    axis = perm[int(attributes(node).get("axis", 0)) % len(perm)]
    return Turned(_remade(node, inputs, names, axis=axis), perm)


def _pad(node: Any, inputs: list[str], perm: Perm, names: Names) -> Turned | None:
    amounts = names.known(inputs[1]) if len(inputs) > 1 else None
    if amounts is None or amounts.shape != (2 * len(perm),) or any(inputs[3:]):
        return None
    moved = amounts.reshape(2, -1)[:, inverse(perm)].reshape(-1)
    return Turned(_remade(node, [inputs[0], names.constant(inputs[1], moved), *inputs[2:]], names), perm)


def _slice(node: Any, inputs: list[str], perm: Perm, names: Names) -> Turned | None:
    if len(inputs) < 4 or not inputs[3]:
        return None
    axes = names.known(inputs[3])
    if axes is None or any(names.known(name) is None for name in inputs[1:] if name):
        return None
    moved = np.array([perm[int(axis) % len(perm)] for axis in axes], np.int64)
    return Turned(_remade(node, [*inputs[:3], names.constant(inputs[3], moved), *inputs[4:]], names), perm)


def _reduce(node: Any, inputs: list[str], perm: Perm, names: Names) -> Turned | None:
    options = attributes(node)
    axes = options.get("axes") if len(inputs) < 2 or not inputs[1] else names.known(inputs[1])
    if axes is None or not len(axes):
        return None
    given = [int(axis) % len(perm) for axis in axes]
    moved = sorted(perm[axis] for axis in given)
    if len(inputs) > 1:
        made = _remade(node, [inputs[0], names.constant(inputs[1], np.array(moved, np.int64))], names)
    else:
        made = _remade(node, inputs, names, axes=moved)
    return Turned(made, perm if options.get("keepdims", 1) else _without(perm, given))


def _squeeze(node: Any, inputs: list[str], perm: Perm, names: Names) -> Turned | None:
    axes = names.known(inputs[1]) if len(inputs) > 1 and inputs[1] else None
    if axes is None:
        return None
    given = [int(axis) % len(perm) for axis in axes]
    moved = np.array(sorted(perm[axis] for axis in given), np.int64)
    return Turned(_remade(node, [inputs[0], names.constant(inputs[1], moved)], names), _without(perm, given))


def _unsqueeze(node: Any, inputs: list[str], perm: Perm, names: Names) -> Turned | None:
    """The new axes are put where they are wanted already, among the others in the order of the base."""
    axes = names.known(inputs[1]) if len(inputs) > 1 else None
    if axes is None:
        return None
    rank = len(perm) + len(axes)
    new = sorted(int(axis) % rank for axis in axes)
    places = [axis for axis in range(rank) if axis not in new]
    made = names.constant(inputs[1], np.array(new, np.int64))
    grown = [0] * rank
    for axis in new:
        grown[axis] = axis
    for place, axis in zip(places, perm, strict=True):
        grown[place] = places[axis]
    return Turned(_remade(node, [inputs[0], made], names), tuple(grown))


def _without(perm: Perm, axes: list[int]) -> Perm:
    """``perm`` once the named axes of the transposed tensor are gone."""
    kept = [axis for place, axis in enumerate(perm) if place not in axes]
    return tuple(sorted(kept).index(axis) for axis in kept)


def _remade(node: Any, inputs: list[str], names: Names, **changed: Any) -> Any:
    options = {**attributes(node), **changed}
    outputs = [names.fresh(name) if name else "" for name in node.output]
    return helper.make_node(node.op_type, inputs, outputs, node.name, domain=node.domain, **options)


_ALIKE = (
    *("Abs", "Add", "Cast", "Ceil", "Cos", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Greater", "HardSigmoid", "HardSwish"),
    *("Identity", "LeakyRelu", "Less", "Log", "Max", "Min", "Mul", "Neg", "Not", "PRelu", "Pow", "Reciprocal", "Relu", "Round"),
    *("Selu", "Sigmoid", "Sin", "Softplus", "Sqrt", "Sub", "Sum", "Tanh", "Where"),
)
_REDUCTIONS = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum")

TURNING: Mapping[str, Turn] = MappingProxyType(
    {
        **dict.fromkeys(_ALIKE, _alike),
        **dict.fromkeys(_REDUCTIONS, _reduce),
        "Clip": _first,
        "Concat": _concat,
        "Dropout": _first,
        "Pad": _pad,
        "Slice": _slice,
        "Split": _split,
        "Squeeze": _squeeze,
        "Unsqueeze": _unsqueeze,
    }
)
