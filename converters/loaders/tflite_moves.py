"""Operators that only move values: TensorFlow Lite's into ONNX's. Shapes in the file are fixed, so whatever asks for one is a constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from converters.loaders.tflite_file import FlatOperator, NotRead
from converters.loaders.tflite_reading import Reading, constant_of


def reshape(r: Reading, op: FlatOperator) -> None:
    """Where only sizes of 1 come or go it is said so: layouts can be followed through that."""
    source, output = op.inputs[0], op.outputs[0]
    before, after = r.shape(source), r.shape(output)
    gone, come = _ones(before, after), _ones(after, before)
    if before == after:
        r.give(output, "Identity", [r.value(source)])
    elif gone is not None and after:
        r.give(output, "Squeeze", [r.value(source), r.numbers(gone)])
    elif come is not None and before:
        r.give(output, "Unsqueeze", [r.value(source), r.numbers(come)])
    else:
        r.give(output, "Reshape", [r.value(source), r.numbers(after)])


def _ones(longer: Sequence[int], shorter: Sequence[int]) -> list[int] | None:
    """The axes of size 1 that ``longer`` has and ``shorter`` lacks, ``None`` when that is not the difference. The last fit is taken."""
    axes, rest = [], list(shorter)
    for axis in reversed(range(len(longer))):
        if rest and rest[-1] == longer[axis] and not (longer[axis] == 1 and axis >= len(rest)):
            rest.pop()
        elif longer[axis] == 1:
            axes.append(axis)
        else:
            return None
    return None if rest or not axes else sorted(axes)


def transpose(r: Reading, op: FlatOperator) -> None:
    perm = [int(axis) for axis in constant_of(r, op, 1).reshape(-1)]
    rank = len(r.shape(op.inputs[0]))
    r.give(op.outputs[0], "Transpose", [r.value(op.inputs[0])], perm=[axis % rank for axis in perm])


def concatenate(r: Reading, op: FlatOperator) -> None:
    inputs = [r.value(index) for index in op.inputs]
    r.give(op.outputs[0], "Concat", inputs, rectifier=op.option("FusedActivationFunction", 0), axis=op.option("Axis", 0))


def pack(r: Reading, op: FlatOperator) -> None:
    axis = op.option("Axis", 0) % len(r.shape(op.outputs[0]))
    if _folded(r, op, lambda arrays: np.stack(arrays, axis)):
        return
    raised = [r.add("Unsqueeze", [r.value(i), r.numbers([axis])], f"{r.name(i)}/raised") for i in op.inputs]
    r.give(op.outputs[0], "Concat", raised, axis=axis)


def unpack(r: Reading, op: FlatOperator) -> None:
    axis = op.option("Axis", 0) % len(r.shape(op.inputs[0]))
    for place, output in enumerate(op.outputs):
        r.give(output, "Gather", [r.value(op.inputs[0]), r.constant(np.int64(place), "place")], axis=axis)


def pad(r: Reading, op: FlatOperator) -> None:
    amounts = constant_of(r, op, 1)
    if amounts.ndim != 2 or amounts.shape != (len(r.shape(op.inputs[0])), 2) or (amounts < 0).any():
        raise NotRead("padding that does not fit its input")
    inputs = [r.value(op.inputs[0]), r.numbers(amounts.T.reshape(-1))]
    if op.code == "MIRROR_PAD":
        if op.option("Mode"):
            raise NotRead("padding that repeats the edge in its mirror image (SYMMETRIC) is not read")
        r.give(op.outputs[0], "Pad", inputs, mode="reflect")
        return
    if op.code == "PADV2":
        inputs.append(r.constant(constant_of(r, op, 2).reshape(()), "filling"))
    r.give(op.outputs[0], "Pad", inputs, mode="constant")


def slice_(r: Reading, op: FlatOperator) -> None:
    begin, size = (constant_of(r, op, place).reshape(-1) for place in (1, 2))
    shape = r.shape(op.inputs[0])
    if len(begin) != len(shape) or len(size) != len(shape):
        raise NotRead("a slice that does not fit its input")
    ends = [whole if s < 0 else int(b) + int(s) for b, s, whole in zip(begin, size, shape, strict=True)]
    inputs = [r.value(op.inputs[0]), r.numbers(begin), r.numbers(ends), r.numbers(range(len(shape)))]
    r.give(op.outputs[0], "Slice", inputs)


def strided_slice(r: Reading, op: FlatOperator) -> None:
    """The masks say where a bound is left open, and which axes are taken out as one index (``x[:, 2]``)."""
    if op.option("EllipsisMask") or op.option("NewAxisMask") or op.option("Offset"):
        raise NotRead("a slice with an ellipsis, new axes or offsets is not read")
    begin, end, step = ([int(v) for v in constant_of(r, op, place).reshape(-1)] for place in (1, 2, 3))
    shape = r.shape(op.inputs[0])
    if not len(begin) == len(end) == len(step) <= len(shape) or 0 in step:
        raise NotRead("a slice that does not fit its input")
    gone = [axis for axis in range(len(begin)) if op.option("ShrinkAxisMask") >> axis & 1]
    for axis, size in enumerate(shape[: len(begin)]):
        forward = step[axis] > 0
        if op.option("BeginMask") >> axis & 1:
            begin[axis] = 0 if forward else size - 1
        if axis in gone:
            begin[axis] += size if begin[axis] < 0 else 0
            end[axis], step[axis] = begin[axis] + 1, 1
        elif op.option("EndMask") >> axis & 1:
            end[axis] = size if forward else -size - 1
    if _folded(r, op, lambda arrays: _cut(arrays[0], begin, end, step, gone)):
        return
    ranges = [r.numbers(values) for values in (begin, end, range(len(begin)), step)]
    if not gone:
        r.give(op.outputs[0], "Slice", [r.value(op.inputs[0]), *ranges])
        return
    cut = r.add("Slice", [r.value(op.inputs[0]), *ranges], f"{r.name(op.outputs[0])}/slice")
    r.give(op.outputs[0], "Squeeze", [cut, r.numbers(gone)])


def _cut(array: Any, begin: list[int], end: list[int], step: list[int], gone: list[int]) -> Any:
    ends = [None if s < 0 and e < -size else e for e, s, size in zip(end, step, array.shape, strict=False)]
    return array[tuple(slice(b, e, s) for b, e, s in zip(begin, ends, step, strict=True))].squeeze(tuple(gone))


def split(r: Reading, op: FlatOperator) -> None:
    """SPLIT has its axis first, SPLIT_V last and the sizes between."""
    sized = op.code == "SPLIT_V"
    source, place = (op.inputs[0], 2) if sized else (op.inputs[1], 0)
    axis = int(constant_of(r, op, place).reshape(-1)[0]) % max(len(r.shape(source)), 1)
    sizes = [r.shape(output)[axis] for output in op.outputs]
    r.give_all(op.outputs, "Split", [r.value(source), r.numbers(sizes)], axis=axis)


def gather(r: Reading, op: FlatOperator) -> None:
    if op.option("BatchDims", 0):
        raise NotRead("GATHER with batch dimensions is not read")
    r.give(op.outputs[0], "Gather", [r.value(op.inputs[0]), r.value(op.inputs[1])], axis=op.option("Axis", 0))


def embed(r: Reading, op: FlatOperator) -> None:
    r.give(op.outputs[0], "Gather", [r.value(op.inputs[1]), r.value(op.inputs[0])], axis=0)


def tile(r: Reading, op: FlatOperator) -> None:
    r.give(op.outputs[0], "Tile", [r.value(op.inputs[0]), r.numbers(constant_of(r, op, 1).reshape(-1))])


def broadcast(r: Reading, op: FlatOperator) -> None:
    r.give(op.outputs[0], "Expand", [r.value(op.inputs[0]), r.numbers(r.shape(op.outputs[0]))])


def fill(r: Reading, op: FlatOperator) -> None:
    r.give(op.outputs[0], "Expand", [r.value(op.inputs[1]), r.numbers(r.shape(op.outputs[0]))])


def shape_of(r: Reading, op: FlatOperator) -> None:
    r.hold(op.outputs[0], np.array(r.shape(op.inputs[0]), r.file.tensors[op.outputs[0]].dtype))


def dequantize(r: Reading, op: FlatOperator) -> None:
    """Of constants only: weights that are stored small and computed with as floats."""
    array = r.array(op.inputs[0])
    if array is None:
        raise NotRead("it is quantized already")
    r.hold(op.outputs[0], array)


def _folded(r: Reading, op: FlatOperator, compute: Any) -> bool:
    """Whether all inputs were small whole numbers, as in the arithmetic of shapes; the result is then known."""
    arrays = [r.array(index) for index in op.inputs]
    if any(array is None or array.dtype.kind != "i" or array.size > 64 for array in arrays):
        return False
    result = np.asarray(compute(arrays))
    if result.shape != r.shape(op.outputs[0]):
        raise NotRead(f"the file is damaged (the shape of tensor {r.name(op.outputs[0])})")
    r.hold(op.outputs[0], result)
    return True


MOVES: Mapping[str, Any] = MappingProxyType(
    {
        "BROADCAST_TO": broadcast,
        "CONCATENATION": concatenate,
        "DEQUANTIZE": dequantize,
        "EMBEDDING_LOOKUP": embed,
        "EXPAND_DIMS": reshape,
        "FILL": fill,
        "GATHER": gather,
        "MIRROR_PAD": pad,
        "PACK": pack,
        "PAD": pad,
        "PADV2": pad,
        "RESHAPE": reshape,
        "SHAPE": shape_of,
        "SLICE": slice_,
        "SPLIT": split,
        "SPLIT_V": split,
        "SQUEEZE": reshape,
        "STRIDED_SLICE": strided_slice,
        "TILE": tile,
        "TRANSPOSE": transpose,
        "UNPACK": unpack,
    }
)
