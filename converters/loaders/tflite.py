"""TensorFlow Lite files. A float one is read as a network, so that it can be pruned and quantized like any other; any other is passed on.

The file itself stays what the original is: ``Source.data`` are its bytes, and ``Source.graph`` computes the same.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import onnx

from converters.errors import InputError
from converters.loaders.tflite_file import FlatFile, NotRead, read_file
from converters.loaders.tflite_readers import READERS
from converters.loaders.tflite_reading import Reading
from converters.model import Graph, Source, proto_of
from converters.shapes import infer_shapes
from edge_agent.errors import RuntimeMissing
from edge_agent.values import DTYPES

IDENTIFIER = b"TFL3"  # bytes 4-8 of every TensorFlow Lite flatbuffer
_DAMAGE = (struct.error, ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)
"""What offsets and numbers that no real file has lead to."""
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "UNIDIRECTIONAL_SEQUENCE_LSTM", "BATCH_MATMUL")
_CODES = ("int8", "uint8", "int16", "INT4", "INT2")


def load_tflite(path: Path, data: bytes) -> Source:
    """The model in ``data``. Where ``graph`` is ``None`` a note says why; whether the file loads and runs is for the proof to say."""
    graph, notes = read_graph(data)
    return Source(path, "tflite", data, hashlib.sha256(data).hexdigest(), len(data), graph, notes=notes)


def read_graph(data: bytes) -> tuple[Graph | None, tuple[str, ...]]:
    """The network in a file and notes on it; ``None`` with the reason for what is quantized already or not understood."""
    try:
        file = read_file(data)
        _refuse(file)
        reading = Reading(file, len(data))
        for operator in file.operators:
            READERS[operator.code](reading, operator)
        graph = reading.graph()
        _check(file, reading, graph)
    except (NotRead, RuntimeMissing) as error:
        return None, (f"packed as it is: {error}",)
    except _DAMAGE as error:
        return None, (f"packed as it is: the file is damaged ({type(error).__name__})",)
    return graph, (*reading.notes, *_rounding(file))


def _refuse(file: FlatFile) -> None:
    """What no reader has to be asked about."""
    if any(tensor.quantized and not tensor.constant and tensor.dtype in _CODES for tensor in file.tensors):
        raise NotRead("it is quantized already")
    codes = {operator.code for operator in file.operators}
    if "QUANTIZE" in codes:
        raise NotRead("it is quantized already")
    unknown = sorted(codes - set(READERS))
    if unknown:
        raise NotRead(f"operators {', '.join(unknown)} are not read")
    for index in file.inputs:
        tensor = file.tensors[index]
        if any(tensor.free[1:]):
            raise NotRead(f"input {tensor.name} has sizes that may change")
        if tensor.constant or tensor.variable:
            raise NotRead(f"input {tensor.name} has values of its own")
    for index in (*file.inputs, *file.outputs):
        if file.tensors[index].dtype not in DTYPES:
            raise NotRead(f"tensor {file.tensors[index].name} is of type {file.tensors[index].dtype}")
    if not file.outputs or not file.operators:
        raise NotRead("it has no outputs, or computes nothing")


def _rounding(file: FlatFile) -> tuple[str, ...]:
    """What the runtime does to whole-number weights that meet float activations: it rounds those too, anew at every inference."""
    met = (op.inputs[1] for op in file.operators if op.code in _WEIGHTED and len(op.inputs) > 1 and op.inputs[1] >= 0)
    if any(file.tensors[index].quantized for index in met):
        return ("weights are int8 in the file and activations are rounded at run time; what is made of it computes with both as floats",)
    return ()


def _check(file: FlatFile, reading: Reading, graph: Graph) -> None:
    """The graph is valid, and ONNX's inference finds the shapes and types that the file says."""
    try:
        onnx.checker.check_model(proto_of(graph))
        found = infer_shapes(replace(graph, outputs=()))  # what is declared of outputs would be taken for what follows
    except (InputError, MemoryError, onnx.checker.ValidationError, ValueError) as error:
        raise NotRead(f"its operators do not fit together ({str(error).splitlines()[0][:200]})") from None
    for index, tensor in enumerate(file.tensors):
        spec = found.get(reading.name(index))
        if spec is not None and not tensor.constant and spec.shape != tensor.shape:
            raise NotRead(f"tensor {tensor.name} is said to be {tensor.shape} and works out as {spec.shape}")
    for spec in graph.outputs:
        if spec.name not in found or found[spec.name].dtype != spec.dtype:
            raise NotRead(f"output {spec.name} is not computed as {spec.dtype}")
