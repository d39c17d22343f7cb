"""Running a graph piece by piece, layer after layer, over all samples, so that no piece is computed twice.

Between two stops only the tensors that are read later are held. The pieces run in onnxruntime: only in the child of ``isolate``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from converters.model import Graph, reads, to_bytes
from edge_agent.errors import ModelError
from edge_agent.runtimes.environment import prepare_environment
from edge_agent.values import TensorSpec

Held = dict[str, list[Any]]


class Walk:
    """Stands before the first node of ``graph`` with the inputs of every sample; ``specs`` tell types of inner tensors (as of any graph of
    the same nodes: sizes are not used). ``held`` are the tensors at hand, one array a sample."""

    def __init__(self, graph: Graph, feeds: Sequence[Mapping[str, Any]], specs: Mapping[str, TensorSpec]) -> None:
        self._graph = graph
        self._specs = specs
        self._at = 0
        self.held: Held = {spec.name: [feed[spec.name] for feed in feeds] for spec in graph.inputs}

    def to(self, index: int) -> Held:
        """Computes the nodes before ``index`` and returns what is held there."""
        piece = self._graph.nodes[self._at : index]
        if piece:
            later = {name for node in self._graph.nodes[index:] for name in reads(node)} | self._graph.output_names()
            made = [name for node in piece for name in node.output if name in later]
            if made:
                self.held.update(self._run(piece, made))
            self.held = {name: arrays for name, arrays in self.held.items() if name in later}
        self._at = index
        return self.held

    def end(self) -> Held:
        """The model's outputs."""
        return self.to(len(self._graph.nodes))

    def exchange(self, index: int, node: Any, constants: Mapping[str, Any]) -> None:
        """Goes on with another node in the place of a coming one, and the constants it reads."""
        nodes = (*self._graph.nodes[:index], node, *self._graph.nodes[index + 1 :])
        self._graph = replace(self._graph, nodes=nodes, constants={**self._graph.constants, **constants})

    def _run(self, piece: Sequence[Any], made: Sequence[str]) -> Held:
        wanted = {name for node in piece for name in reads(node)}
        given = [name for name in self.held if name in wanted]
        inputs = tuple(TensorSpec(name, str(self.held[name][0].dtype), tuple(self.held[name][0].shape)) for name in given)
        outputs = tuple(self._named(name) for name in made)
        run = opened(replace(self._graph.edited(piece), inputs=inputs, outputs=outputs))
        found: Held = {name: [] for name in made}
        for sample in range(len(next(iter(self.held.values())))):
            for name, array in zip(made, run({name: self.held[name][sample] for name in given}), strict=True):
                found[name].append(array)
        return found

    def _named(self, name: str) -> TensorSpec:
        known = self._specs.get(name)
        return TensorSpec(name, known.dtype if known else "float32", (None,) * (len(known.shape) if known else 1))


def opened(graph: Graph) -> Any:
    """A function from input arrays by name to the list of output arrays. Raises :class:`ModelError` for a graph that cannot be run."""
    prepare_environment()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(to_bytes(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exception types are private to it
        raise ModelError(f"the model cannot be run for pruning: {str(error).splitlines()[0][:300]}") from error
    names = [spec.name for spec in graph.outputs]

    def run(feed: Mapping[str, Any]) -> list[Any]:
        try:
            return list(session.run(names, dict(feed)))
        except Exception as error:  # as above
            raise ModelError(f"the model cannot be run for pruning: {str(error).splitlines()[0][:300]}") from error

    return run
