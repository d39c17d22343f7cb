"""The least memory an inference needs, told from the network alone."""

from __future__ import annotations

import math

import numpy as np

from converters.errors import InputError
from converters.model import Graph, reads
from converters.shapes import infer_shapes


def least_memory(graph: Graph, file_bytes: int) -> int:
    """Bytes: the file, and the most activations that must be held at once when nodes run in order and tensors go with their last reader.

    Runtimes hold more (their own code, packed weights, arenas); what the board really takes is measured there.
    """
    try:
        shapes = infer_shapes(graph)
    except InputError:
        return file_bytes
    sizes = {
        name: math.prod(size or 1 for size in spec.shape) * np.dtype(spec.dtype).itemsize
        for name, spec in shapes.items()
        if name not in graph.constants and spec.dtype != "object"
    }
    last = {name: at for at, node in enumerate(graph.nodes) for name in reads(node)}
    shown = graph.output_names()
    live = {spec.name for spec in graph.inputs}
    most = 0
    for at, node in enumerate(graph.nodes):
        live |= {name for name in node.output if name}
        most = max(most, sum(sizes.get(name, 0) for name in live))
        live = {name for name in live if name in shown or last.get(name, -1) > at}
    return file_bytes + most
