"""tf2onnx in a fixed order: it walks sets of nodes, whose order is that of their addresses, and optimizes more or less by it."""

from __future__ import annotations

import itertools
from typing import Any


def steady() -> None:
    """Nodes made from now on hash by the order they were made in. tf2onnx has no option for that."""
    from tf2onnx import graph

    numbers = itertools.count(1)
    first = graph.Node.__init__

    def made(node: Any, *arguments: Any, **options: Any) -> None:
        node._made_as = next(numbers)
        first(node, *arguments, **options)

    graph.Node.__init__ = made
    graph.Node.__hash__ = lambda node: node._made_as
