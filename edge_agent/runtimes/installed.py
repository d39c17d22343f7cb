"""Which runtimes are installed, found in the packages' metadata: nothing is imported, so any process may ask."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import metadata

ONNX_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
TFLITE_DISTRIBUTIONS = ("ai-edge-litert", "tflite-runtime")
"""The newer first: the same int8 model runs 13 times faster on it."""

VersionOf = Callable[[str], str]
"""The version of a distribution; raises PackageNotFoundError."""


def installed() -> dict[str, str]:
    """Versions of the installed runtimes by the manifest's words (``onnx``, ``tflite``)."""
    found = {"onnx": onnx_library(), "tflite": tflite_library()}
    return {name: library[1] for name, library in found.items() if library is not None}


def onnx_library(version_of: VersionOf = metadata.version) -> tuple[str, str] | None:
    """Distribution and version of the installed ONNX Runtime."""
    return _first(ONNX_DISTRIBUTIONS, version_of)


def tflite_library(version_of: VersionOf = metadata.version) -> tuple[str, str] | None:
    """Distribution and version of the library that would run TensorFlow Lite models."""
    return _first(TFLITE_DISTRIBUTIONS, version_of)


def version_key(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, for comparing: ``1.24.0rc1`` gives (1, 24). Trailing zeros do not count."""
    leading = re.match(r"[^0-9]*([0-9]{1,9}(?:\.[0-9]{1,9})*)", version)
    numbers = [int(part) for part in leading[1].split(".")] if leading else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _first(names: tuple[str, ...], version_of: VersionOf) -> tuple[str, str] | None:
    for name in names:
        try:
            return name, version_of(name)
        except metadata.PackageNotFoundError:
            continue
    return None
