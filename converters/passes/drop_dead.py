"""Nodes that no output of the model depends on."""

from __future__ import annotations

from typing import Any

from converters.model import Graph, reads
from converters.passes.contract import Pass


def drop_dead(graph: Graph) -> Graph:
    wanted = set(graph.output_names())
    kept: list[Any] = []
    for node in reversed(graph.nodes):
        if wanted & set(node.output):
            wanted |= reads(node)
            kept.append(node)
    return graph.edited(reversed(kept)) if len(kept) < len(graph.nodes) else graph


DROP_DEAD = Pass("drop_dead", drop_dead)
