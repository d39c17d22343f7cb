"""Which loader reads a file: told by its content, not by its name."""

from __future__ import annotations

from pathlib import Path

from converters.errors import InputError
from converters.given import read_given
from converters.loaders.onnx import load_onnx
from converters.loaders.tflite import IDENTIFIER, load_tflite
from converters.model import Source

MAX_BYTES = (1 << 31) - 1  # of one message or buffer, in both formats


def load_source(path: Path) -> Source:
    """The model in ``path``. Raises :class:`InputError` naming the file and what is wrong with it."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the .onnx or .tflite file in it")
    data = read_given(path, max_bytes=MAX_BYTES)
    if not data:
        raise InputError(f"{path}: is empty")
    if data[4:8] == IDENTIFIER:
        return load_tflite(path, data)
    return load_onnx(path, data)
