"""The mean error that rounding weights puts on each output channel, taken out of the layer's bias.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2: a layer with rounded
weights W' gives (W' - W) E[x] too much on average. E[x] is measured here, by channel, on the calibration samples. Where a convolution pads
its input with zeros the borders see less of x than the mean says; this is ignored.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.calibrate.ranges import Calibration
from converters.model import Graph, attributes, copied
from converters.passes.linear import LINEAR_OPS, LinearWeights, linear_weights
from converters.targets.scales import quantize_weights


def correct_bias(graph: Graph, calibration: Calibration, keep_float: frozenset[str] = frozenset()) -> Graph:
    """``graph`` with biases for weights in int8 by output channel; for int8 targets only. The same graph when there is nothing to do.

    ``keep_float`` are the first-output names of nodes that stay float: their weights are not rounded, so their biases stay too.
    """
    nodes, arrays = [], {}
    for node in graph.nodes:
        rounded = node.op_type in LINEAR_OPS and node.output[0] not in keep_float
        linear = linear_weights(node, graph.constants) if rounded else None
        mean = calibration.means.get(node.input[0]) if linear is not None else None
        shift = None if linear is None or mean is None else _shift(node, linear, mean)
        if linear is None or shift is None:
            nodes.append(node)
            continue
        name = f"{node.output[0]}/corrected"
        arrays[name] = (linear.bias.astype(np.float64) - shift).astype(linear.weight.dtype)
        nodes.append(copied(node, inputs=[node.input[0], node.input[1], name]))
    return graph.edited(nodes, arrays) if arrays else graph


def _shift(node: Any, linear: LinearWeights, mean: Any) -> Any:
    """What rounding the weights adds to each output channel on average; ``None`` when the means are not of this layer's input."""
    rounded = quantize_weights(linear.weight, linear.axis)
    form = [1] * linear.weight.ndim
    form[linear.axis] = -1
    error = rounded.values.astype(np.float64) * rounded.scales.astype(np.float64).reshape(form) - linear.weight
    error = np.moveaxis(error, linear.axis, 0)
    outputs, columns = error.shape[:2]
    group = int(attributes(node).get("group", 1)) if node.op_type == "Conv" else 1
    if mean.shape != (group * columns,):
        return None
    by_input = error.reshape(group, outputs // group, columns, -1).sum(axis=3)
    return np.einsum("goi,gi->go", by_input, mean.reshape(group, columns)).reshape(-1)
