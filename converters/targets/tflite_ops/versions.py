"""The lowest version of each TensorFlow Lite operator that takes float32, int8 and int16 values.

Source: TensorFlow 2.14, ``tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc``. Operators not named here have version 1 for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

VERSIONS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "ABS": (1, 2, 3),
        "ADD": (1, 2, 3),
        "ARG_MAX": (1, 2, 2),
        "AVERAGE_POOL_2D": (1, 2, 3),
        "BATCH_MATMUL": (1, 2, 3),
        "BROADCAST_TO": (2, 2, 3),
        "CONCATENATION": (1, 2, 3),
        "CONV_2D": (1, 3, 4),
        "DEPTHWISE_CONV_2D": (1, 3, 5),
        "DEPTH_TO_SPACE": (1, 2, 2),
        "FULLY_CONNECTED": (1, 4, 7),
        "GATHER": (1, 2, 4),
        "GELU": (1, 2, 2),
        "LEAKY_RELU": (1, 2, 2),
        "LOGISTIC": (1, 2, 3),
        "LOG_SOFTMAX": (1, 2, 2),
        "MAXIMUM": (1, 2, 4),
        "MAX_POOL_2D": (1, 2, 3),
        "MEAN": (1, 2, 3),
        "MINIMUM": (1, 2, 4),
        "MIRROR_PAD": (1, 2, 3),
        "MUL": (1, 2, 4),
        "PAD": (1, 2, 3),
        "PADV2": (1, 2, 3),
        "QUANTIZE": (1, 2, 3),
        "REDUCE_MAX": (1, 2, 3),
        "REDUCE_MIN": (1, 2, 3),
        "RELU": (1, 2, 3),
        "RELU6": (1, 2, 3),
        "RESIZE_BILINEAR": (1, 2, 4),
        "RESIZE_NEAREST_NEIGHBOR": (1, 2, 4),
        "SLICE": (1, 2, 4),
        "SOFTMAX": (1, 2, 3),
        "SPACE_TO_DEPTH": (1, 2, 2),
        "SPLIT": (1, 2, 4),
        "SPLIT_V": (1, 2, 2),
        "STRIDED_SLICE": (1, 2, 4),
        "SUB": (1, 2, 5),
        "SUM": (1, 2, 2),
        "TANH": (1, 2, 3),
        "TILE": (1, 2, 2),
        "TRANSPOSE": (1, 2, 5),
        "TRANSPOSE_CONV": (3, 3, 4),
    }
)
