"""Images made larger or smaller. ONNX has many ways to say where a new pixel lies in the old image; TensorFlow Lite has three."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from converters.model import attributes
from converters.targets.tflite_canvas import CHANNELS_LAST, Canvas
from converters.targets.tflite_ops.lowering import refuse, write
from converters.targets.tflite_ops.scaling import get_on_scale

_HALF_PIXEL_VERSION = 3
_FLAGS = MappingProxyType(
    {"asymmetric": (False, False), "half_pixel": (False, True), "pytorch_half_pixel": (False, True), "align_corners": (True, False)}
)
_ROUNDING: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda place: np.ceil(place - 0.5),
        "round_prefer_ceil": lambda place: np.floor(place + 0.5),
    }
)


def resize(canvas: Canvas, node: Any, result: str, rectifier: str) -> None:
    source, options = node.input[0], attributes(node)
    before, after = canvas.shape(source), canvas.shape(result)
    mode = bytes(options.get("mode", b"nearest")).decode()
    if len(before) != 4 or before[:2] != after[:2]:
        raise refuse(node, "it changes other dimensions than the last two of four")
    if options.get("antialias", 0) or mode not in ("nearest", "linear"):
        raise refuse(node, f"its mode {mode}{' with antialias' if options.get('antialias', 0) else ''} is not written")
    index = get_on_scale(canvas, source, CHANNELS_LAST, canvas.scale(result))
    if mode == "nearest":
        _nearest(canvas, node, index, result)
    else:
        _linear(canvas, node, index, result)


def _linear(canvas: Canvas, node: Any, index: int, result: str) -> None:
    where = _coordinates(node)
    before, after = canvas.shape(node.input[0])[2:], canvas.shape(result)[2:]
    exact = all(abs(size * factor - new) < 1e-3 for size, factor, new in zip(before, _scales(canvas, node, result), after, strict=True))
    if where not in _FLAGS or (where != "align_corners" and not exact) or (where == "pytorch_half_pixel" and 1 in after):
        raise refuse(node, f"linear with {where} coordinates of these sizes is not written")
    align, half = _FLAGS[where]
    version = {"version": _HALF_PIXEL_VERSION} if half else {}
    inputs = [index, canvas.ints(after)]
    target = canvas.put(result, CHANNELS_LAST)
    write(canvas, "RESIZE_BILINEAR", inputs, target, "ResizeBilinearOptions", alignCorners=align, halfPixelCenters=half, **version)


def _nearest(canvas: Canvas, node: Any, index: int, result: str) -> None:
    """By the kernel where it takes the same pixels, else the rows and columns are picked one by one."""
    before, after = canvas.shape(node.input[0])[2:], canvas.shape(result)[2:]
    picks = [_picks(node, *sizes) for sizes in zip(before, after, _scales(canvas, node, result), strict=True)]
    target = canvas.put(result, CHANNELS_LAST)
    if all(np.array_equal(pick, np.arange(new) * old // new) for pick, old, new in zip(picks, before, after, strict=True)):
        write(canvas, "RESIZE_NEAREST_NEIGHBOR", [index, canvas.ints(after)], target, "ResizeNearestNeighborOptions")
        return
    shape = canvas.flat.shape(index)
    rows = canvas.temporary(f"{result}/rows", (shape[0], after[0], *shape[2:]), canvas.scale(result))
    write(canvas, "GATHER", [index, canvas.ints(picks[0])], rows, "GatherOptions", axis=1)
    write(canvas, "GATHER", [rows, canvas.ints(picks[1])], target, "GatherOptions", axis=2)


def _picks(node: Any, size: int, new: int, factor: float) -> Any:
    """The old pixel for each new one along an axis (ONNX, Resize: coordinate_transformation_mode and nearest_mode)."""
    place, where = np.arange(new, dtype=np.float64), _coordinates(node)
    if where in ("half_pixel", "pytorch_half_pixel"):
        place = (place + 0.5) / factor - 0.5 if where == "half_pixel" or new > 1 else place * 0
    elif where == "asymmetric":
        place = place / factor
    elif where == "align_corners":
        place = place * (size - 1) / max(new - 1, 1)
    else:
        raise refuse(node, f"nearest with {where} coordinates is not written")
    rounding = bytes(attributes(node).get("nearest_mode", b"round_prefer_floor")).decode()
    rounded = _ROUNDING[rounding](place)
    return np.clip(rounded, 0, size - 1).astype(np.int32)


def _scales(canvas: Canvas, node: Any, result: str) -> list[float]:
    """New size over old for the last two axes, as the node says it."""
    found = canvas.graph.constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if found is not None and found.size == 4:
        return [float(factor) for factor in found[2:]]
    return [new / old for new, old in zip(canvas.shape(result)[2:], canvas.shape(node.input[0])[2:], strict=True)]


def _coordinates(node: Any) -> str:
    return bytes(attributes(node).get("coordinate_transformation_mode", b"half_pixel")).decode()
