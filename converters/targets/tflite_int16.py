"""TensorFlow Lite with 16-bit activations and int8 weights: next to float in precision, for what computes in integers alone.

Activations are symmetric (zero point 0) and biases int64. Source: TensorFlow Lite documentation, "Post-training integer quantization with
int16 activations". On processors with float units the kernels are plain loops and many times slower than float.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from converters.calibrate.ranges import Range
from converters.model import Graph
from converters.passes.for_tflite import expanded
from converters.targets.formats import INT16X8
from converters.targets.scales import Scale, wide_scale
from converters.targets.tflite_lower import lower
from converters.targets.tflite_scales import tensor_scales

_UNIT = Scale(1 / 32768, 0)
_FIXED: Mapping[str, Scale] = MappingProxyType({"Sigmoid": _UNIT, "Softmax": _UNIT, "Tanh": _UNIT})


def emit_tflite_int16x8(graph: Graph, ranges: Mapping[str, Range], keep_float: frozenset[str] = frozenset()) -> bytes:
    """The file; float inputs are quantized and outputs made real again inside it. ``ranges`` has the calibrated extent of every float
    tensor; ``keep_float`` the first-output names of nodes that stay float. Raises :class:`~converters.errors.UnsupportedOp`."""
    graph = expanded(graph)
    return lower(graph, INT16X8, tensor_scales(graph, ranges, wide_scale, _FIXED), keep_float)
