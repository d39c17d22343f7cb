"""Words for element types in the Open Inference Protocol and in Triton's model configuration."""

from __future__ import annotations

from collections.abc import Mapping

V2_OF: Mapping[str, str] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
"""The protocol's datatype by numpy name."""

NOT_NUMBERS = ("BYTES", "BF16")
"""Datatypes of the protocol that no model here takes."""


def config_type(dtype: str) -> str:
    """As Triton's ModelConfig says it, e.g. ``TYPE_FP32``."""
    return "TYPE_" + V2_OF[dtype]
