"""Pictures: every one decoded, scaled to one size, in one order of colours, values 0 to 255."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import InputError
from converters.gather.folder import files_of
from converters.gather.labels import numbered
from converters.gather.said import SamplesSaid
from converters.gather.writing import write_npz
from edge_agent.values import TensorSpec

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".webp", ".tif", ".tiff")
_CHANNELS = (1, 3)


def gather_pictures(path: Path, said: SamplesSaid, classes: Sequence[str], inputs: Sequence[TensorSpec], out: Path) -> None:
    """An array named as the model's one input with rows of its own layout (channels first or last), or ``window`` with (height, width,
    channels) rows where its shape is no picture's. Raises :class:`InputError` naming the file."""
    files, names = files_of(path, ENDINGS)
    size, channels, first, name = _form(path, said, inputs)
    rows = (_picture(file, size, channels, said.colour, first=first) for file in files)
    shape = (channels, *size) if first else (*size, channels)
    streams: dict[str, tuple[tuple[int, ...], Any]] = {name: ((len(files), *shape), rows)}
    if names:
        labels = numbered(path, names, classes)
        streams["labels"] = ((len(labels),), labels)
    write_npz(out, streams)


def _form(path: Path, said: SamplesSaid, inputs: Sequence[TensorSpec]) -> tuple[tuple[int, int], int, bool, str]:
    """Height and width, number of channels, whether channels come first, and the name of the array."""
    if len(inputs) != 1:
        raise InputError(f"{path}: pictures feed a model with one input; this one has {', '.join(spec.name for spec in inputs)}")
    spec = inputs[0]
    sizes = spec.shape[1:] if len(spec.shape) == 4 else spec.shape
    first = len(sizes) == 3 and sizes[0] in _CHANNELS and sizes[2] not in _CHANNELS
    last = len(sizes) == 3 and sizes[2] in _CHANNELS
    known = (sizes[1:] if first else sizes[:2]) if first or last else ()
    height, width = (said.size or known or (None, None))[:2]
    if height is None or width is None:
        raise InputError(
            f"{path}: the model does not say how large a picture is; give samples.size = [height, width] in the processing file"
        )
    channels = 1 if said.colour == "grey" else (sizes[0] if first else sizes[2] if last else 3) or 3
    return (int(height), int(width)), int(channels), first, spec.name if first or last else "window"


def _picture(file: Path, size: tuple[int, int], channels: int, colour: str, *, first: bool) -> Any:
    image = _pillow()
    try:
        with image.open(file) as opened:
            scaled = opened.convert("L" if channels == 1 else "RGB").resize((size[1], size[0]), image.Resampling.BILINEAR)
            values = np.asarray(scaled, np.float32).reshape(*size, channels)
    except (OSError, ValueError, SyntaxError, image.DecompressionBombError) as error:
        raise InputError(f"{file}: cannot be read as a picture ({str(error)[:200]})") from None
    if colour == "bgr":
        values = values[:, :, ::-1]
    return values.transpose(2, 0, 1) if first else values


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise InputError("reading pictures needs Pillow: pip install 'edge-runtime[images]', or give the samples as .npz") from None
    return Image
