"""Whether a network computes in whole numbers already: it is packed as it is then, since rounding it a second time only loses."""

from __future__ import annotations

from typing import Any

from converters.model import Graph

_STEPS = ("QuantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")
_STARTS = ("QLinear", "QGemm", "QAttention", "QEmbed", "QMoE", "QOrdered")
_NARROW = (
    "MatMulNBits",
    "MatMulBnb4",
    "MatMulFpQ4",
    "GatherBlockQuantized",
    "DynamicQuantizeMatMul",
    "DynamicQuantizeLSTM",
    "MatMulIntegerToFloat",
)


def is_quantized(graph: Graph) -> bool:
    """QDQ pairs or integer operators, in ONNX's words or ONNX Runtime's own. A DequantizeLinear of constants alone is mere storage."""
    return any(_whole_numbers(node, graph) for node in graph.nodes)


def _whole_numbers(node: Any, graph: Graph) -> bool:
    kind = str(node.op_type)
    if kind == "DequantizeLinear":
        return bool(node.input) and node.input[0] not in graph.constants
    return kind in _STEPS or kind in _NARROW or kind.startswith(_STARTS)
