"""ONNX computed in float32, with weights of two bytes or one.

Each stored constant is made float by operators that ONNX Runtime folds when it loads the model, so inference is that of the float file.
It does not fold a DequantizeLinear (it keeps those for its integer kernels) and would convert the weights anew in every inference; a Cast
and a Mul say the same and are folded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from converters.errors import UnsupportedOp
from converters.model import Graph, to_bytes
from converters.targets.scales import quantize_weights
from converters.targets.tflite_storage import WORTH_STORING, fits
from converters.targets.weighty import weight_axes


def emit_onnx_float16(graph: Graph) -> bytes:
    """The file with every larger constant stored as float16. Raises :class:`UnsupportedOp` when there is none."""
    chosen = [name for name, array in graph.constants.items() if _large(array) and fits(array, "float16")]
    constants = {f"{name}/stored": graph.constants[name].astype(np.float16) for name in chosen}
    return _emit(graph, constants, [_cast(f"{name}/stored", name) for name in chosen])


def emit_onnx_weights8(graph: Graph) -> bytes:
    """The file with the weights of layers stored as int8 by output channel. Raises :class:`UnsupportedOp` when there are none."""
    nodes, constants = stored_in_int8(graph, weight_axes(graph))
    return _emit(graph, constants, nodes)


def stored_in_int8(graph: Graph, axes: Mapping[str, int]) -> tuple[list[Any], dict[str, Any]]:
    """Constants that take the place of the larger ones of ``axes`` (channel axis by name), and the nodes that make the old ones of them."""
    nodes: list[Any] = []
    constants: dict[str, Any] = {}
    for name, axis in axes.items():
        if not _large(graph.constants[name]):
            continue
        quantized = quantize_weights(graph.constants[name], axis)
        form = [1] * quantized.values.ndim
        form[axis] = -1
        constants.update({f"{name}/stored": quantized.values, f"{name}/scales": quantized.scales.reshape(form)})
        nodes += [_cast(f"{name}/stored", f"{name}/codes"), helper.make_node("Mul", [f"{name}/codes", f"{name}/scales"], [name])]
    return nodes, constants


def _emit(graph: Graph, constants: dict[str, Any], nodes: Iterable[Any]) -> bytes:
    if not constants:
        raise UnsupportedOp("there are no weights that are worth storing in fewer bytes")
    made = [*nodes, *graph.nodes]
    written = {name for node in made for name in node.output}
    kept = {name: array for name, array in graph.constants.items() if name not in written}
    return to_bytes(replace(graph, constants=kept).edited(made, constants))


def _large(array: Any) -> bool:
    return bool(array.dtype == np.float32 and array.size >= WORTH_STORING)


def _cast(source: str, target: str) -> Any:
    return helper.make_node("Cast", [source], [target], to=TensorProto.FLOAT)
