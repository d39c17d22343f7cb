"""Integer kernels that want all their tensors on one scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.targets.scales import Scale
from converters.targets.tflite_canvas import Canvas, Order
from converters.targets.tflite_ops.lowering import write


def on_scale(canvas: Canvas, name: str, index: int, scale: Scale | None) -> int:
    """Tensor ``index``, which holds (part of) ``name``, brought to ``scale``; itself where it is there already."""
    if scale is None or canvas.scale(name) == scale:
        return index
    target = canvas.temporary(f"{name}/rescaled", canvas.flat.shape(index), scale)
    write(canvas, "QUANTIZE", [index], target, "QuantizeOptions")
    return target


def get_on_scale(canvas: Canvas, name: str, order: Order, scale: Scale | None) -> int:
    """ONNX tensor ``name`` stored in ``order``, with ``scale``."""
    return on_scale(canvas, name, canvas.get(name, order), scale)


def constant_on_scale(canvas: Canvas, name: str, array: Any, scale: Scale | None) -> int:
    """A constant: codes with ``scale``, else float32 or whole numbers as they are (int64 as int32, all that kernels take)."""
    if array.dtype.kind in "iu" and scale is None:
        return canvas.flat.constant(name, array.astype(np.int32))
    if array.dtype.kind == "b":
        return canvas.flat.constant(name, array)
    if scale is None:
        return canvas.flat.constant(name, array.astype(np.float32))
    kind = np.iinfo(canvas.form.activations)
    codes = np.clip(np.rint(array / scale.scale) + scale.zero_point, kind.min, kind.max).astype(canvas.form.activations)
    return canvas.flat.constant(name, codes, [scale.scale], 0, scale.zero_point)
