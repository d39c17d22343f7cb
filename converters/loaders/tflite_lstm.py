"""UNIDIRECTIONAL_SEQUENCE_LSTM as ONNX's LSTM (tensorflow/lite/kernels/unidirectional_sequence_lstm.cc; ONNX Operators, LSTM).

TensorFlow Lite keeps one matrix a gate, in the order input, forget, cell, output; ONNX joins them in the order input, output, forget,
cell. The state starts from zero at every question: the device zeroes the variables of a TensorFlow Lite file before each.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.loaders.tflite_file import FlatOperator, NotRead
from converters.loaders.tflite_reading import Reading, constant_of

_GATES = (0, 3, 1, 2)
_INPUTS, _RECURRENT, _BIASES = 1, 5, 12
_EXTRAS = (*range(9, 12), *range(16, 18), *range(20, 24))  # peepholes, projection, layer normalization
_TANH = 4


def lstm(r: Reading, op: FlatOperator) -> None:
    if any(place < len(op.inputs) and op.inputs[place] >= 0 for place in _EXTRAS):
        raise NotRead("an LSTM with peepholes, a projection or layer normalization is not read")
    if op.option("FusedActivationFunction") != _TANH or op.option("ProjClip"):
        raise NotRead("an LSTM with another activation than tanh is not read")
    if op.option("CellClip"):
        r.notes.append(f"the LSTM's cell state is held to {op.option('CellClip'):g} in the file and not in what is made of it")
    weights, recurrent, biases = (_joined(r, op, first) for first in (_INPUTS, _RECURRENT, _BIASES))
    stem, timed = r.name(op.outputs[0]), bool(op.option("TimeMajor"))
    source = r.value(op.inputs[0])
    if not timed:
        source = r.add("Transpose", [source], f"{stem}/steps", perm=[1, 0, 2])
    bias = np.concatenate([biases, np.zeros_like(biases)])
    arrays = [r.constant(array[None], f"{stem}/{what}") for what, array in (("W", weights), ("R", recurrent), ("B", bias))]
    states = r.add("LSTM", [source, *arrays], f"{stem}/states", hidden_size=recurrent.shape[1])
    one_way = [states, r.numbers([1])]
    if timed:
        r.give(op.outputs[0], "Squeeze", one_way)
        return
    r.give(op.outputs[0], "Transpose", [r.add("Squeeze", one_way, f"{stem}/one_way")], perm=[1, 0, 2])


def _joined(r: Reading, op: FlatOperator, first: int) -> Any:
    arrays = [constant_of(r, op, first + gate) for gate in _GATES]
    if len({array.shape for array in arrays}) != 1 or arrays[0].dtype != np.float32:
        raise NotRead("the file is damaged (the weights of an LSTM)")
    return np.concatenate(arrays)
