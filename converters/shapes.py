"""Shapes and element types of every tensor of a graph, as ONNX's own inference finds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from converters.errors import InputError
from converters.model import Graph, proto_of
from edge_agent.values import TensorSpec


def infer_shapes(graph: Graph) -> Mapping[str, TensorSpec]:
    """What is known of each tensor by name, constants included. An unknown size is ``None``; a tensor of unknown rank is absent.

    Raises :class:`InputError` for a graph that inference refuses.
    """
    try:
        proto = onnx.shape_inference.infer_shapes(proto_of(graph), data_prop=True)
    except Exception as error:  # InferenceError, and others from native code
        raise InputError(f"the shapes of its tensors contradict each other: {str(error).splitlines()[0][:300]}") from None
    known = {name: TensorSpec(name, str(array.dtype), tuple(array.shape)) for name, array in graph.constants.items()}
    for value in (*proto.graph.input, *proto.graph.value_info, *proto.graph.output):
        tensor = value.type.tensor_type
        if tensor.elem_type and tensor.HasField("shape"):
            shape = tuple(int(dim.dim_value) if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
            known[value.name] = TensorSpec(value.name, str(np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))), shape)
    return known


def with_inputs(graph: Graph, inputs: tuple[TensorSpec, ...]) -> Graph:
    """``graph`` with other sizes of its inputs, and of its outputs what follows from them; the same graph when nothing changes."""
    blank = replace(graph, inputs=inputs)
    # Outputs still carry the old free sizes; inference fills in what follows from the inputs.
    shapes = infer_shapes(replace(blank, outputs=tuple(replace(spec, shape=(None,) * len(spec.shape)) for spec in graph.outputs)))
    outputs = tuple(
        replace(spec, shape=_merged(spec.shape, shapes[spec.name].shape if spec.name in shapes else ())) for spec in graph.outputs
    )
    return graph if (inputs, outputs) == (graph.inputs, graph.outputs) else replace(blank, outputs=outputs)


def _merged(declared: tuple[int | None, ...], found: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """What inference found, and where it found nothing what the file says."""
    if len(found) != len(declared):
        return declared
    return tuple(said if size is None else size for said, size in zip(declared, found, strict=True))
