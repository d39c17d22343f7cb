"""Free dimensions of the inputs become the sizes that the user gives, or those that the samples have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from converters.errors import InputError
from converters.model import Graph, Source, to_bytes
from converters.shapes import with_inputs
from edge_agent.values import TensorSpec

Shape = tuple[int, ...]


def fix_shapes(graph: Graph, shapes: Mapping[str, Shape]) -> Graph:
    """``graph`` with the inputs named in ``shapes`` of exactly that shape; the same graph when that changes nothing.

    Raises :class:`InputError` for a name that is no input and for a shape that the network does not take.
    """
    known = {spec.name: spec for spec in graph.inputs}
    for name, shape in shapes.items():
        if name not in known:
            raise InputError(f"--shape {_said(name, shape)}: the model has no input {name}; it has {', '.join(known) or 'none'}")
        if not _fits(shape, known[name]):
            raise InputError(f"--shape {_said(name, shape)}: the model takes {_free(known[name])}")
    inputs = tuple(replace(spec, shape=tuple(shapes.get(spec.name, spec.shape))) for spec in graph.inputs)
    return graph if inputs == graph.inputs else with_inputs(graph, inputs)


def shapes_from_samples(graph: Graph, sample_shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """What :func:`fix_shapes` takes, for the inputs with free sizes whose samples tell them.

    ``sample_shapes`` are the shapes of one sample by array name (``window`` is the one input's), with or without the batch dimension. An
    input whose sample does not fit is left out: preprocessing may give it its shape.
    """
    found: dict[str, Shape] = {}
    for spec in graph.inputs:
        row = sample_shapes.get(spec.name, sample_shapes.get("window") if len(graph.inputs) == 1 else None)
        if row is None or None not in spec.shape:
            continue
        for shape in (tuple(row), (1, *row)):
            if _fits(shape, spec):
                found[spec.name] = shape
                break
    return found


def sized_file(source: Source, shapes: Mapping[str, Shape]) -> Source:
    """``source`` with ``shapes`` fixed in its graph; where more than a batch was free also in what a runtime loads of it, since the
    original has to be run at those sizes too. A file of another format than ONNX stays as it is: its sizes are its own."""
    if source.graph is None or source.format != "onnx":
        return source
    graph = fix_shapes(source.graph, shapes)
    if not any(None in spec.shape[1:] for spec in source.graph.inputs):
        return replace(source, graph=graph)
    return replace(source, graph=graph, data=to_bytes(graph))


def free_inputs(graph: Graph) -> tuple[str, ...]:
    """For each input with a size that is still free, a sentence with both ways to fix it."""
    return tuple(
        f"input {spec.name}: size {spec.shape.index(None)} of its shape {_free(spec)} is free; "
        f"give --shape {spec.name}={','.join(str(size or 'N') for size in spec.shape)} with a number for N, or samples of that shape"
        for spec in graph.inputs
        if None in spec.shape
    )


def _fits(shape: Shape, spec: TensorSpec) -> bool:
    return len(shape) == len(spec.shape) and all(size > 0 and want in (None, size) for size, want in zip(shape, spec.shape, strict=True))


def _said(name: str, shape: Shape) -> str:
    return f"{name}={','.join(map(str, shape))}"


def _free(spec: TensorSpec) -> str:
    return f"({', '.join('free' if size is None else str(size) for size in spec.shape)})"
