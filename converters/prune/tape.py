"""Forward and backward through a small set of operators, in numpy: enough to move weights along a gradient, no framework.

Images are held channels last, (samples, height, width, channels), which is what matrix products want; weights stay as ONNX has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from converters.model import Graph, attributes
from converters.prune.convolve import Back, convolve, depthwise, max_pool
from converters.prune.rows import Window, window_of

OPS = frozenset(["Conv", "Gemm", "Relu", "Clip", "Add", "MaxPool", "GlobalAveragePool", "Flatten", "Reshape"])


def forward(node: Any, inputs: Sequence[Any], *, inner: bool = True) -> tuple[Any, Back]:
    """One operator of ``OPS`` on arrays, a batch along axis 0: its output, and a function from the output's gradient to those of the first
    input (both of an Add), weights and biases. ``inner`` off leaves out the gradient of what a Conv reads."""
    kind, x = node.op_type, inputs[0]
    if kind == "Conv":
        window = window_of(node, inputs[1], x.shape[1:3])
        if attributes(node).get("group", 1) > 1:
            return depthwise(x, inputs[1], _third(inputs), window)
        return convolve(x, inputs[1], _third(inputs), window, inner=inner)
    if kind == "Gemm":
        return _gemm(node, *inputs)
    if kind == "Add":
        other = inputs[1]
        return x + other, lambda g: (_reduced(g, x.shape), _reduced(g, other.shape))
    if kind in ("Relu", "Clip"):
        return _bounded(x, *_bounds(inputs, kind))
    if kind == "MaxPool":
        options = attributes(node)
        kernel, strides = options["kernel_shape"], options.get("strides", [1, 1])
        return max_pool(x, Window((kernel[0], kernel[1]), (strides[0], strides[1]), (1, 1), ((0, 0), (0, 0))))
    if kind == "GlobalAveragePool":
        area = x.shape[1] * x.shape[2]
        return x.mean(axis=(1, 2), keepdims=True), lambda g: (np.broadcast_to(g / area, x.shape),)
    return _flat(x)


def channels_last(array: Any) -> Any:
    """A batch of images (samples, channels, height, width) as they are held here; any other array as it is."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array


def supported(graph: Graph, shapes: Mapping[str, Any]) -> bool:
    """Whether every node is one that ``forward`` does right, and every tensor an image or a row of features."""
    ranks = {len(shapes[name].shape) if name in shapes else 0 for node in graph.nodes for name in node.output}
    ranks |= {len(spec.shape) for spec in graph.inputs}
    outputs = {len(shapes[spec.name].shape) for spec in graph.outputs if spec.name in shapes}
    return ranks <= {2, 4} and outputs == {2} and all(_fits(node, graph, shapes) for node in graph.nodes)


def _fits(node: Any, graph: Any, shapes: Mapping[str, Any]) -> bool:
    options = attributes(node)
    if node.op_type not in OPS or node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type == "Conv":
        weight = graph.constants.get(node.input[1])
        held = weight is not None and weight.ndim == 4 and all(name in graph.constants for name in node.input[2:] if name)
        return held and (options.get("group", 1) == 1 or weight.shape[0] == options["group"])
    if node.op_type == "Add":
        return all(name not in graph.constants or graph.constants[name].size == 1 for name in node.input)
    if node.op_type == "Gemm":
        plain = options.get("alpha", 1.0) == options.get("beta", 1.0) == 1.0 and not options.get("transA", 0)
        return plain and all(name in graph.constants for name in node.input[1:])
    if node.op_type == "MaxPool":
        padded = any(options.get("pads", [])) or options.get("auto_pad", b"NOTSET") != b"NOTSET"
        odd = padded or options.get("ceil_mode", 0) or any(d != 1 for d in options.get("dilations", []))
        return not odd and len(options["kernel_shape"]) == 2
    if node.op_type == "Clip":
        return len(node.input) > 1 and all(name in graph.constants for name in node.input[1:] if name)
    if node.op_type in ("Flatten", "Reshape"):
        return node.output[0] in shapes and len(shapes[node.output[0]].shape) == 2 and options.get("axis", 1) == 1
    return True


def _third(inputs: Sequence[Any]) -> Any:
    return inputs[2] if len(inputs) > 2 else None


def _bounds(inputs: Sequence[Any], kind: str) -> tuple[float | None, float | None]:
    given = [None if bound is None else float(bound) for bound in inputs[1:]] if kind == "Clip" else [0.0]
    low, high = (*given, None, None)[:2]
    return low, high


def _bounded(x: Any, low: float | None, high: float | None) -> tuple[Any, Back]:
    if low is None and high is None:
        return x, lambda g: (g,)
    y = np.maximum(x, x.dtype.type(low)) if high is None else np.clip(x, low, high)
    return y, lambda g: (g * (y == x),)


def _gemm(node: Any, x: Any, w: Any, b: Any = None) -> tuple[Any, Back]:
    flipped = attributes(node).get("transB", 0)
    y = x @ (w.T if flipped else w)
    y = y if b is None else y + b

    def back(g: Any) -> tuple[Any, ...]:
        found = x.T @ g
        shape = None if b is None else b.shape
        return g @ (w if flipped else w.T), found.T if flipped else found, _reduced(g, shape) if shape is not None else None

    return y, back


def _flat(x: Any) -> tuple[Any, Back]:
    """Rows of features in the order of the file: channel by channel."""
    if x.ndim != 4:
        return x.reshape(len(x), -1), lambda g: (g.reshape(x.shape),)
    count, height, width, channels = x.shape
    rows = x.transpose(0, 3, 1, 2).reshape(count, -1)
    return rows, lambda g: (np.ascontiguousarray(g.reshape(count, channels, height, width).transpose(0, 2, 3, 1)),)


def _reduced(gradient: Any, shape: Sequence[int]) -> Any:
    """The gradient of an operand that was broadcast to the output's shape."""
    lead = gradient.ndim - len(shape)
    summed = gradient.sum(axis=tuple(range(lead))) if lead else gradient
    axes = tuple(axis for axis, size in enumerate(shape) if size == 1 and summed.shape[axis] != 1)
    return summed.sum(axis=axes, keepdims=True) if axes else summed
