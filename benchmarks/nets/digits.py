"""The handwritten digits of ``examples/digits`` as the networks here take them. Needs numpy alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
DATA = HERE.parent.parent / "examples" / "digits" / "digits.npz"
SIZES = {"plain": 8, "resnet8": 32, "depthwise": 32}
"""Side of the square image that each network takes."""


def model(name: str) -> Path:
    """The float ONNX file: input ``image`` float32 (1, 1, side, side) in 0..1, output ``logits`` float32 (1, 10)."""
    return HERE / f"{name}.onnx"


def images(name: str) -> tuple[Any, Any, Any, Any]:
    """Training images (1000, 1, side, side) and labels, which also calibrate; 797 test images and labels, which no network has seen."""
    with np.load(DATA) as held:
        pixels, labels = held["x"].astype(np.float32) / 16.0, held["y"].astype(np.int64)
        train, test = held["train"], held["test"]
    pixels = enlarged(pixels.reshape(-1, 8, 8), SIZES[name])[:, None]
    return pixels[train], labels[train], pixels[test], labels[test]


def enlarged(pixels: Any, side: int) -> Any:
    """Images (n, 8, 8) at ``side`` by ``side``, bilinear with pixel centres aligned."""
    if side == pixels.shape[1]:
        return pixels
    at = np.clip((np.arange(side) + 0.5) * 8 / side - 0.5, 0, 7)
    low = np.minimum(at.astype(int), 6)
    part = (at - low).astype(np.float32)
    rows = pixels[:, low] * (1 - part)[:, None] + pixels[:, low + 1] * part[:, None]
    return np.ascontiguousarray(rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part, np.float32)
