"""Forward and backward through a small set of operators, in numpy: enough to move weights along a gradient, no framework.

Every function gives the output and a function from the output's gradient to those of its inputs (and of its weights, by position).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from converters.model import attributes
from converters.prune.rows import Window, window_of

Back = Callable[[Any], tuple[Any, ...]]
OPS = frozenset(["Conv", "Gemm", "Relu", "Clip", "Add", "MaxPool", "GlobalAveragePool", "Flatten", "Reshape"])


def forward(node: Any, inputs: Sequence[Any]) -> tuple[Any, Back]:
    """One operator of ``OPS`` on float32 arrays, a batch along axis 0. Gradients come for the first input, weights and biases."""
    kind = node.op_type
    if kind == "Conv":
        return _conv(node, *inputs)
    if kind == "Gemm":
        return _gemm(node, *inputs)
    if kind == "Add":
        return inputs[0] + inputs[1], lambda g: (_reduced(g, inputs[0].shape), _reduced(g, inputs[1].shape))
    if kind in ("Relu", "Clip"):
        bounds = [float(bound) if bound is not None else None for bound in inputs[1:]] if kind == "Clip" else [0.0]
        low, high = (*bounds, None, None)[:2]
        x = inputs[0]
        y = x if low is None and high is None else np.clip(x, low, high)
        return y, lambda g: (g * (y == x),)
    if kind == "MaxPool":
        return _max_pool(node, inputs[0])
    shape = inputs[0].shape
    if kind == "GlobalAveragePool":
        area = int(np.prod(shape[2:]))
        axes = tuple(range(2, len(shape)))
        return inputs[0].mean(axis=axes, keepdims=True), lambda g: (np.broadcast_to(g / area, shape),)
    return inputs[0].reshape(len(inputs[0]), -1), lambda g: (g.reshape(shape),)


def supported(graph: Any, shapes: Mapping[str, Any]) -> bool:
    """Whether every node is one that ``forward`` does right."""
    return all(_fits(node, graph, shapes) for node in graph.nodes)


def _fits(node: Any, graph: Any, shapes: Mapping[str, Any]) -> bool:
    options = attributes(node)
    if node.op_type not in OPS or node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type == "Conv":
        weight = graph.constants.get(node.input[1])
        return weight is not None and weight.ndim == 4 and (options.get("group", 1) == 1 or weight.shape[0] == options["group"])
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


def _conv(node: Any, x: Any, w: Any, b: Any = None) -> tuple[Any, Back]:
    window = window_of(node, w, x.shape[2:])
    padded = np.pad(x, ((0, 0), (0, 0), *window.pads))
    taps = _tap_slices(window, padded.shape)
    if attributes(node).get("group", 1) > 1:
        return _depthwise(x, padded, w, b, window, taps)
    columns = np.stack([padded[:, :, down, across] for down, across in taps], axis=2)
    count, height, width = len(x), *columns.shape[3:]
    flat = np.ascontiguousarray(columns.transpose(0, 3, 4, 1, 2)).reshape(count * height * width, -1)
    matrix = w.reshape(len(w), -1)
    y = flat @ matrix.T
    y = y if b is None else y + b

    def back(g: Any) -> tuple[Any, ...]:
        rows = np.ascontiguousarray(g.transpose(0, 2, 3, 1)).reshape(-1, len(w))
        inner = (rows @ matrix).reshape(count, height, width, x.shape[1], -1).transpose(0, 3, 4, 1, 2)
        into = np.zeros_like(padded)
        for tap, (down, across) in enumerate(taps):
            into[:, :, down, across] += inner[:, :, tap]
        return _unpadded(into, window), (rows.T @ flat).reshape(w.shape), rows.sum(axis=0)

    return np.ascontiguousarray(y.reshape(count, height, width, -1).transpose(0, 3, 1, 2)), back


def _depthwise(x: Any, padded: Any, w: Any, b: Any, window: Window, taps: Sequence[Any]) -> tuple[Any, Back]:
    flat = w.reshape(len(w), -1)
    y = sum(padded[:, :, down, across] * flat[:, tap, None, None] for tap, (down, across) in enumerate(taps))
    y = y if b is None else y + b[:, None, None]

    def back(g: Any) -> tuple[Any, ...]:
        into, found = np.zeros_like(padded), np.empty_like(flat)
        for tap, (down, across) in enumerate(taps):
            into[:, :, down, across] += g * flat[:, tap, None, None]
            found[:, tap] = np.einsum("nchw,nchw->c", g, padded[:, :, down, across])
        return _unpadded(into, window), found.reshape(w.shape), g.sum(axis=(0, 2, 3))

    return y, back


def _gemm(node: Any, x: Any, w: Any, b: Any = None) -> tuple[Any, Back]:
    flipped = attributes(node).get("transB", 0)
    y = x @ (w.T if flipped else w)
    y = y if b is None else y + b

    def back(g: Any) -> tuple[Any, ...]:
        found = x.T @ g
        shape = None if b is None else b.shape
        return g @ (w if flipped else w.T), found.T if flipped else found, _reduced(g, shape) if shape is not None else None

    return y, back


def _max_pool(node: Any, x: Any) -> tuple[Any, Back]:
    options = attributes(node)
    kernel = options["kernel_shape"]
    strides = options.get("strides", [1, 1])
    taps = _tap_slices(Window((kernel[0], kernel[1]), (strides[0], strides[1]), (1, 1), ((0, 0), (0, 0))), x.shape)
    stacked = np.stack([x[:, :, down, across] for down, across in taps])
    best = stacked.argmax(axis=0)

    def back(g: Any) -> tuple[Any, ...]:
        into = np.zeros_like(x)
        for tap, (down, across) in enumerate(taps):
            into[:, :, down, across] += g * (best == tap)
        return (into,)

    return stacked.max(axis=0), back


def _tap_slices(window: Window, padded: Sequence[int]) -> list[tuple[slice, slice]]:
    """For each tap of the window the part of the padded image that it goes over."""
    reach = [[], []]  # type: list[list[slice]]
    for axis in (0, 1):
        extent = (window.kernel[axis] - 1) * window.dilations[axis] + 1
        places = (padded[2 + axis] - extent) // window.strides[axis] + 1
        starts = [tap * window.dilations[axis] for tap in range(window.kernel[axis])]
        reach[axis] = [slice(start, start + (places - 1) * window.strides[axis] + 1, window.strides[axis]) for start in starts]
    return [(down, across) for down in reach[0] for across in reach[1]]


def _unpadded(into: Any, window: Window) -> Any:
    (top, _), (left, _) = window.pads
    height, width = (into.shape[2 + axis] - sum(window.pads[axis]) for axis in (0, 1))
    return into[:, :, top : top + height, left : left + width]


def _reduced(gradient: Any, shape: Sequence[int]) -> Any:
    """The gradient of an operand that was broadcast to the output's shape."""
    lead = gradient.ndim - len(shape)
    summed = gradient.sum(axis=tuple(range(lead))) if lead else gradient
    axes = tuple(axis for axis, size in enumerate(shape) if size == 1 and summed.shape[axis] != 1)
    return summed.sum(axis=axes, keepdims=True) if axes else summed
