"""A graph with channels taken out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import helper

from converters.model import Graph, copied
from converters.prune.groups import Groups
from converters.prune.spans import entries, kept_entries


def narrowed(graph: Graph, groups: Groups, keep: Mapping[int, Any]) -> Graph:
    """``graph`` whose groups hold only the channels ``keep`` names (ascending int64 by group). Inputs and outputs stay what they are."""
    constants = dict(graph.constants)
    for cut in groups.cuts:
        if any(span.group in keep for span in cut.spans):
            constants[cut.name] = np.ascontiguousarray(np.take(constants[cut.name], kept_entries(cut.spans, keep), cut.axis))
    nodes = list(graph.nodes)
    for layer in groups.layers:
        if layer.depthwise:
            nodes[layer.index] = _with_group(nodes[layer.index], len(kept_entries(layer.inputs, keep)))
    for index in groups.reshapes:
        nodes[index] = _with_shape(nodes[index], groups, keep, constants)
    return graph.edited(nodes, constants)


def _with_group(node: Any, channels: int) -> Any:
    made = copied(node)
    kept = [attribute for attribute in made.attribute if attribute.name != "group"]
    made.ClearField("attribute")
    made.attribute.extend([*kept, helper.make_attribute("group", channels)])
    return made


def _with_shape(node: Any, groups: Groups, keep: Mapping[int, Any], constants: dict[str, Any]) -> Any:
    """A Reshape to the same shape with the channels that are left; all other sizes are known."""
    spans = groups.spans[node.output[0]]
    if not any(span.group in keep for span in spans):
        return node
    shape = [*groups.shapes[node.output[0]].shape]
    shape[1] = len(kept_entries(spans, keep)) if entries(spans) == shape[1] else shape[1]
    name = f"{node.output[0]}_kept_shape"
    constants[name] = np.array(shape, np.int64)
    return copied(node, inputs=[node.input[0], name])
