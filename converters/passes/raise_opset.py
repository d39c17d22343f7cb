"""Operator sets before 13 cannot say per-channel quantization; such graphs are raised to 13 by ONNX's own converter."""

from __future__ import annotations

from onnx import version_converter

from converters.errors import PassError
from converters.model import Graph, graph_of, proto_of
from converters.passes.contract import Pass

LOWEST = 13


def raise_opset(graph: Graph) -> Graph:
    if graph.opset >= LOWEST:
        return graph
    try:
        return graph_of(version_converter.convert_version(proto_of(graph), LOWEST))
    except Exception as error:  # the converter raises many kinds
        why = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise PassError(
            f"operator set {graph.opset} cannot be raised to {LOWEST} ({why}); --scheme as-is packs the file unchanged"
        ) from error


RAISE_OPSET = Pass("raise_opset", raise_opset, ensures=frozenset({"opset13"}))
