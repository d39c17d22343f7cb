"""A network in memory: ONNX's own node messages, with constants as numpy arrays beside them.

Passes never change a :class:`Graph`; they make a new one with :meth:`Graph.edited`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge_agent.values import TensorSpec

ONNX_DOMAINS = ("", "ai.onnx")

Attributes = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Nodes in topological order. ``constants`` are the initializers; ``inputs`` excludes them. ``opset`` is the main domain's version,
    ``domains`` the other domains by name."""

    nodes: tuple[Any, ...]
    constants: Mapping[str, Any]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int
    domains: Mapping[str, int]

    def edited(
        self, nodes: Iterable[Any], constants: Mapping[str, Any] | None = None, *, inputs: tuple[TensorSpec, ...] | None = None
    ) -> Graph:
        """This graph with other nodes; constants that no node reads any more are left out."""
        kept = tuple(nodes)
        pool = self.constants if constants is None else {**self.constants, **constants}
        read = {name for node in kept for name in reads(node)} | {spec.name for spec in self.outputs}
        return replace(
            self,
            nodes=kept,
            constants={name: array for name, array in pool.items() if name in read},
            inputs=self.inputs if inputs is None else inputs,
        )

    def producers(self) -> dict[str, Any]:
        """The node that writes each tensor."""
        return {name: node for node in self.nodes for name in node.output if name}

    def consumers(self) -> dict[str, list[Any]]:
        """The nodes that read each tensor, in order."""
        found: dict[str, list[Any]] = {}
        for node in self.nodes:
            for name in node.input:
                if name:
                    found.setdefault(name, []).append(node)
        return found

    def output_names(self) -> frozenset[str]:
        return frozenset(spec.name for spec in self.outputs)


@dataclass(frozen=True, slots=True)
class Source:
    """The file the user gave. ``data`` in ``format`` (onnx, tflite) is what a runtime loads: external weights inlined, or what another
    format was translated to; ``sha256`` and ``bytes`` are of the file itself (and its external weights). ``graph`` is ``None`` where the
    network can only be passed on. ``origin`` names the format of a file that was translated (keras, pytorch, ...), and ``notes`` what is
    worth knowing of that."""

    path: Path
    format: str
    data: bytes
    sha256: str
    bytes: int
    graph: Graph | None = None
    origin: str = ""
    notes: tuple[str, ...] = ()


def graph_of(proto: Any) -> Graph:
    """The graph in an ``onnx.ModelProto`` whose weights are all inside."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    return Graph(
        nodes=tuple(proto.graph.node),
        constants=constants,
        inputs=tuple(_spec(value) for value in proto.graph.input if value.name not in constants),
        outputs=tuple(_spec(value) for value in proto.graph.output),
        opset=max((versions[d] for d in ONNX_DOMAINS if d in versions), default=1),
        domains={domain: version for domain, version in versions.items() if domain not in ONNX_DOMAINS},
    )


def proto_of(graph: Graph, *, ir_version: int | None = None, extra_outputs: Iterable[str] = ()) -> Any:
    """An ``onnx.ModelProto`` of ``graph``; ``extra_outputs`` are internal float32 tensors to be shown as outputs too."""
    shown = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in extra_outputs]
    body = helper.make_graph(
        list(graph.nodes),
        "main",
        [_value_info(spec) for spec in graph.inputs],
        [*(_value_info(spec) for spec in graph.outputs), *shown],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in graph.constants.items()],
    )
    opsets = [helper.make_opsetid("", graph.opset), *(helper.make_opsetid(d, v) for d, v in sorted(graph.domains.items()))]
    return helper.make_model(body, opset_imports=opsets, producer_name="edge-convert", ir_version=ir_version or ir_version_for(graph.opset))


def to_bytes(graph: Graph) -> bytes:
    """The ONNX file of ``graph``; the same graph gives the same bytes."""
    return bytes(proto_of(graph).SerializeToString(deterministic=True))


def ir_version_for(opset: int) -> int:
    """The lowest IR version that came with ``opset``, so that old runtimes still read the file (ONNX, docs/Versioning.md)."""
    for limit, version in ((18, 8), (20, 9), (22, 10), (23, 11)):
        if opset <= limit:
            return version
    return 12


def attributes(node: Any) -> Attributes:
    """The attributes of ``node`` as Python values."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def reads(node: Any) -> set[str]:
    """Every tensor a node reads, in its subgraphs too (which may read names of the outer graph)."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            for child in inner.node:
                names |= reads(child)
            names |= {value.name for value in inner.output}
    return names


def copied(node: Any, *, inputs: Iterable[str] | None = None, outputs: Iterable[str] | None = None) -> Any:
    """A copy of ``node`` that reads or writes other tensors."""
    made = onnx.NodeProto()
    made.CopyFrom(node)
    if inputs is not None:
        made.ClearField("input")
        made.input.extend(inputs)
    if outputs is not None:
        made.ClearField("output")
        made.output.extend(outputs)
    return made


def tensors_of(graph: Any) -> Iterator[Any]:
    """Every ``onnx.TensorProto`` of a ``GraphProto``: initializers and those in attributes, subgraphs included."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from tensors_of(inner)


def _spec(value: Any) -> TensorSpec:
    tensor = value.type.tensor_type
    dtype = str(np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))) if tensor.elem_type else "float32"
    shape = tuple(int(dim.dim_value) if dim.dim_value > 0 else None for dim in tensor.shape.dim)
    return TensorSpec(value.name, dtype, shape)


def _value_info(spec: TensorSpec) -> Any:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
    return helper.make_tensor_value_info(spec.name, kind, spec.shape)  # a free size gets no name: equal names would promise equal sizes
