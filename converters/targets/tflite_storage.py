"""Weights of float layers in fewer bytes: stored as float16 or int8, made float by an operator in the file.

A DEQUANTIZE right behind the constant is the one form that every release of the runtime computes correctly. XNNPACK does it once, when
the model is loaded; so does the plain interpreter, which keeps what a constant gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.targets.flatbuffer import FlatModel
from converters.targets.formats import Format
from converters.targets.scales import quantize_weights

WORTH_STORING = 256
"""Elements from which on a smaller storage saves more than what describes it takes."""

_LARGEST_HALF = 65504.0


def stored_weight(flat: FlatModel, form: Format, name: str, weight: Any, axis: int) -> int:
    """The float32 tensor with the values of ``weight``, whose ``axis`` counts output channels, kept in the file as ``form`` says."""
    if form.integer or form.weights == "float32" or weight.size < WORTH_STORING or not fits(weight, form.weights):
        return flat.constant(name, weight.astype(np.float32))
    if form.weights == "float16":
        source, version = flat.constant(f"{name}/stored", weight.astype(np.float16)), 3
    else:
        quantized = quantize_weights(weight, axis)
        source, version = flat.constant(f"{name}/stored", quantized.values, quantized.scales, axis), 5
    target = flat.tensor(name, weight.shape, "float32")
    flat.operator("DEQUANTIZE", [source], target, "DequantizeOptions", version=version)
    return target


def fits(weight: Any, dtype: str) -> bool:
    """Whether ``weight`` can be stored as ``dtype``: float16 ends at 65504."""
    return dtype != "float16" or float(np.abs(weight).max(initial=0.0)) <= _LARGEST_HALF
