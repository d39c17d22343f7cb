"""TensorFlow Lite with 16-bit activations and int8 weights: next to float in precision, for what computes in integers alone.

Activations are symmetric (zero point 0) and biases int64. Source: TensorFlow Lite documentation, "Post-training integer quantization with
int16 activations". On processors with float units the kernels are plain loops and many times slower than float.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from converters.calibrate.ranges import Range
from converters.model import Graph
from converters.passes.for_tflite import expanded
from converters.shapes import infer_shapes
from converters.targets.formats import INT16X8
from converters.targets.scales import Scale, wide_scale
from converters.targets.tflite_lower import lower
from converters.targets.tflite_ops.patterns import respelled
from converters.targets.tflite_scales import tensor_scales

_UNIT = Scale(1 / 32768, 0)
_EIGHT_BITS_ONLY = (
    *("DepthToSpace", "Elu", "Expand", "GRU", "Gelu", "HardSwish", "LSTM"),
    *("LogSoftmax", "MatMul", "PRelu", "RNN", "ReduceSum", "SpaceToDepth", "Tile"),
)
_MOST_AXES = 4  # with more, release 2.14 ends the process in ADD and MUL
_FIXED: Mapping[str, Scale] = MappingProxyType({"Sigmoid": _UNIT, "Softmax": _UNIT, "Tanh": _UNIT})


def emit_tflite_int16x8(graph: Graph, ranges: Mapping[str, Range], keep_float: frozenset[str] = frozenset()) -> bytes:
    """The file; float inputs are quantized and outputs made real again inside it. ``ranges`` has the calibrated extent of every float
    tensor; ``keep_float`` the first-output names of nodes that stay float. Raises :class:`~converters.errors.UnsupportedOp`."""
    graph = expanded(graph)
    scales = tensor_scales(graph, ranges, wide_scale, _FIXED)
    return lower(graph, INT16X8, scales, keep_float | _without_kernel(respelled(graph)))


def _without_kernel(graph: Graph) -> frozenset[str]:
    """First outputs of the nodes that some release since 2.14 cannot compute in 16 bits, or computes wrongly."""
    shapes = infer_shapes(graph)

    def lacks(node: Any) -> bool:
        deep = any(name in shapes and len(shapes[name].shape) > _MOST_AXES for name in (*node.input, *node.output))
        return deep or node.op_type in _EIGHT_BITS_ONLY

    return frozenset(str(node.output[0]) for node in graph.nodes if lacks(node))
