"""Shapes and element types of every tensor of a graph, as ONNX's own inference finds them."""

from __future__ import annotations

from collections.abc import Mapping

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
