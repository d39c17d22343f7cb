"""The words an option of a conversion may be."""

from __future__ import annotations

TARGETS = ("auto", "onnx", "tflite")
SCHEMES = ("auto", "int8", "int16x8", "weights8", "float16", "float32", "as-is")
CALIBRATORS = ("minmax", "percentile", "mse")
