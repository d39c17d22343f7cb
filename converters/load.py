"""Which loader reads a file: told by its content, not by its name."""

from __future__ import annotations

from pathlib import Path

from converters.errors import InputError
from converters.loaders.onnx import load_onnx
from converters.loaders.tflite import IDENTIFIER, load_tflite
from converters.model import Source


def load_source(path: Path) -> Source:
    """The model in ``path``. Raises :class:`InputError` naming the file and what is wrong with it."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the .onnx or .tflite file in it")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if not data:
        raise InputError(f"{path}: is empty")
    if data[4:8] == IDENTIFIER:
        return load_tflite(path, data)
    return load_onnx(path, data)
