"""The last strokes on a translated ONNX model: the user's own names, and nothing that plain ONNX does not know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from converters.tools.scripts.keras_code import Refused

_NUMBERED = re.compile(r"__\d+(?=$|_)")
_PLAIN = ("", "ai.onnx", "ai.onnx.ml")


def finish(model: Any, specs: Sequence[dict[str, Any]], outputs: Sequence[str], target: Path) -> None:
    """Names inputs and outputs in order, writes ``target`` in one file. Raises Refused for operators of other domains."""
    foreign = sorted({node.op_type for node in _nodes(model.graph) if node.domain not in _PLAIN})
    if foreign:
        raise Refused(f"uses {', '.join(foreign)}, which ONNX has no operator for")
    given = [value.name for value in model.graph.input]
    made = [value.name for value in model.graph.output]
    if len(given) != len(specs) or len(made) != len(outputs):
        raise Refused(f"lost inputs or outputs in translation ({len(given)} of {len(specs)}, {len(made)} of {len(outputs)})")
    wanted = [spec["name"] for spec in specs]
    _rename(model.graph, given, wanted)
    _outputs(model.graph, outputs)
    _sizes(model.graph)
    _renumber(model.graph)
    model.graph.name = "main"
    used = {node.domain for node in _nodes(model.graph)}
    kept = [entry for entry in model.opset_import if entry.domain in used or entry.domain in ("", "ai.onnx")]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    target.write_bytes(model.SerializeToString(deterministic=True))


def _sizes(graph: Any) -> None:
    """Free sizes lose the numbered names a translator gave them, which say nothing; the first is the batch."""
    for value in [*graph.input, *graph.output]:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.HasField("dim_param"):
                dim.dim_param = "batch" if axis == 0 else ""
            if dim.HasField("dim_param") and not dim.dim_param:
                dim.ClearField("dim_param")


def _renumber(graph: Any) -> None:
    """Numbers that a translator gave away in no fixed order are given anew in the order of use: the same model gives the same bytes."""
    kept = {value.name for value in [*graph.input, *graph.output]}
    names: dict[str, str] = {}
    for i, node in enumerate(_nodes(graph)):
        node.name = f"{node.op_type}_{i}"
        for name in [*node.input, *node.output]:
            if name not in names and name not in kept and _NUMBERED.search(name):
                names[name] = _NUMBERED.sub(f"__{len(names)}", name)
    # By way of names that nothing has: an old number may be a new one of another tensor.
    _apply(graph, {old: f"\0{new}" for old, new in names.items()})
    _apply(graph, {f"\0{new}": new for new in names.values()})
    order = {name: i for i, name in enumerate(dict.fromkeys(name for node in _nodes(graph) for name in node.input))}
    constants = sorted(graph.initializer, key=lambda value: order.get(value.name, len(order)))
    del graph.initializer[:]
    graph.initializer.extend(constants)
    del graph.value_info[:]  # shapes of what is inside are inferred again where they are needed


def _rename(graph: Any, given: Sequence[str], wanted: Sequence[str]) -> None:
    taken = _names(graph) - set(given)
    aside = {name: f"{name}__inner" for name in wanted if name in taken}
    _apply(graph, {**aside, **dict(zip(given, wanted, strict=True))})


def _outputs(graph: Any, wanted: Sequence[str]) -> None:
    """An output that is an input, or that comes out twice, gets an Identity of its own."""
    from onnx import helper

    inputs = {value.name for value in graph.input}
    names: list[str] = []
    for i, value in enumerate(graph.output):
        if value.name in inputs or value.name in names:
            fresh = f"{value.name}__out{i}"
            graph.node.append(helper.make_node("Identity", [value.name], [fresh]))
            value.name = fresh
        names.append(value.name)
    free = [name if name not in inputs else f"{name}_out" for name in wanted]
    _rename(graph, names, free)


def _apply(graph: Any, names: dict[str, str]) -> None:
    for value in [*graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        value.name = names.get(value.name, value.name)
    for node in _nodes(graph):
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                for value in [*inner.input, *inner.output, *inner.value_info, *inner.initializer]:
                    value.name = names.get(value.name, value.name)


def _nodes(graph: Any) -> Iterator[Any]:
    """Every node, those of subgraphs too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _nodes(inner)


def _names(graph: Any) -> set[str]:
    held = {value.name for value in [*graph.input, *graph.initializer]}
    return held | {name for node in _nodes(graph) for name in [*node.input, *node.output]}
