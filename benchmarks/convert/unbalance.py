"""Networks whose channels differ wildly in size and that compute what they computed before.

Weight decay, batch normalization folded into layers, and pruning leave such channels behind; here they are made on purpose.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.model import Graph, copied
from converters.passes.channels import channel_groups
from converters.passes.equalise import rescaled


def unbalanced(graph: Graph, *, octaves: float = 6.0, seed: int = 0) -> Graph:
    """``graph`` with every channel that may be scaled freely multiplied by 2 to a number drawn from -``octaves`` to ``octaves``."""
    draw = np.random.default_rng(seed)
    groups = channel_groups(graph)
    return rescaled(graph, groups, [draw.uniform(-octaves, octaves, group.channels) for group in groups])


def unclipped(graph: Graph) -> Graph:
    """``graph`` with every Clip at 0 and above as a Relu: another function, whose channels can be scaled."""
    return graph.edited([_relu(node) if node.op_type == "Clip" else node for node in graph.nodes])


def _relu(node: Any) -> Any:
    made = copied(node, inputs=node.input[:1])
    made.op_type = "Relu"
    return made
