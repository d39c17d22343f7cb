"""The words an option of a conversion may be."""

from __future__ import annotations

TARGETS = ("auto", "onnx", "tflite")
SCHEMES = ("auto", "int8", "int8-io", "int16x8", "weights8", "float16", "float32", "as-is")
PLACES = ("auto", "inside", "beside")
"""Where weights lie, of the file of a model for ONNX Runtime."""
CALIBRATORS = ("minmax", "percentile", "mse")
INTEGER = ("int8", "int8-io", "int16x8")
"""Schemes that compute in whole numbers and need calibrated ranges."""


def needs_ranges(scheme: str) -> bool:
    """Whether ``<runtime>-<precision>`` computes in whole numbers."""
    return scheme.partition("-")[2] in INTEGER
