"""The first release of a runtime that can run what a target writes."""

from __future__ import annotations

from types import MappingProxyType

from edge_agent.versions import version_key

# ONNX Runtime's documentation, "ONNX Runtime compatibility": the release that first knew an operator set.
_ONNX_RUNTIME = MappingProxyType({17: "1.13", 18: "1.14", 19: "1.16", 20: "1.17", 21: "1.18", 22: "1.21", 23: "1.23"})
_NEWEST_KNOWN = "1.23"

ONNX_WIDE_PAIRS = "1.17"
"""ONNX Runtime with 16-bit QuantizeLinear and DequantizeLinear in the domain com.microsoft; the oldest release they were tried in."""


def onnx_minimum(opset: int) -> str:
    """The first ONNX Runtime release for ``opset``, or the newest release known here for one that is newer still."""
    if opset < min(_ONNX_RUNTIME):
        return ""
    return _ONNX_RUNTIME.get(opset, _NEWEST_KNOWN)


def stricter(one: str, other: str) -> str:
    """The higher of two minimum versions; empty ones ask nothing."""
    return max(one, other, key=version_key)
