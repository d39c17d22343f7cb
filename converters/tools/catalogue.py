"""Which tool environments there are: what each needs, and on which Python."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from converters.errors import InputError
from edge_agent.versions import version_key


@dataclass(frozen=True, slots=True)
class Tool:
    """An environment by name: ``requirements`` as pip takes them, and the lowest and highest ``python`` (``"3.10"``) they install on."""

    name: str
    requirements: tuple[str, ...]
    python: tuple[str, str]
    about: str


TOOLS: Mapping[str, Tool] = MappingProxyType(
    {
        tool.name: tool
        for tool in (
            Tool(
                "keras",
                (
                    'tensorflow-cpu>=2.16; platform_machine == "x86_64"',
                    'tensorflow>=2.16; platform_machine != "x86_64"',
                    "tf2onnx>=1.17",
                ),
                ("3.10", "3.13"),
                "reads .keras, .h5 and SavedModel (TensorFlow, about 1.5 GB)",
            ),
            Tool(
                "pytorch",
                ("torch>=2.4", "onnx>=1.17", "onnxscript>=0.2", "numpy>=1.24"),
                ("3.10", "3.13"),
                "reads PyTorch programs and distils (about 1 GB; several with CUDA, see docs/formats-frameworks.md)",
            ),
            Tool(
                "sklearn",
                ("scikit-learn>=1.4", "skl2onnx>=1.17", "skops>=0.10", "joblib>=1.3", "onnx>=1.17"),
                ("3.10", "3.13"),
                "reads scikit-learn models (.skops, .joblib, .pkl; about 400 MB)",
            ),
        )
    }
)

_RUNTIME = re.compile(r"(onnxruntime|ai-edge-litert|tflite-runtime)-(\d{1,4}(?:\.\d{1,4}){1,3})", re.ASCII)
_PYTHONS = (
    ("tflite-runtime", "9999", "3.9", "3.11"),
    ("ai-edge-litert", "1.1", "3.9", "3.11"),
    ("ai-edge-litert", "2.0", "3.9", "3.12"),
    ("ai-edge-litert", "9999", "3.10", "3.13"),
    ("onnxruntime", "1.15", "3.9", "3.10"),
    ("onnxruntime", "1.17", "3.9", "3.11"),
    ("onnxruntime", "1.20", "3.9", "3.12"),
    ("onnxruntime", "1.24", "3.10", "3.13"),
    ("onnxruntime", "9999", "3.11", "3.13"),
)
"""Library, releases below, and the oldest and newest Python that their wheels are for."""


def runtime_tool(library: str, version: str) -> Tool:
    """The environment that holds exactly ``version`` of an inference ``library``, to prove models in what a board runs.

    Raises :class:`InputError` for a library that is not known.
    """
    name = f"{library}-{version}"
    if not _RUNTIME.fullmatch(name):
        raise InputError(f"runtime {name!r}: give onnxruntime, ai-edge-litert or tflite-runtime and a version such as 1.17.0")
    return Tool(name, (f"{library}=={version}", _numpy_for(library, version)), _python_for(library, version), f"proves models in {name}")


def is_tool(name: str) -> bool:
    return name in TOOLS or _RUNTIME.fullmatch(name) is not None


def tool_of(name: str) -> Tool:
    """The tool called ``name``. Raises :class:`InputError` that lists those there are."""
    if name in TOOLS:
        return TOOLS[name]
    runtime = _RUNTIME.fullmatch(name)
    if runtime is None:
        raise InputError(f"tool {name!r}: there is none; choose {', '.join(TOOLS)}, or a runtime such as tflite-runtime-2.14.0")
    return runtime_tool(runtime[1], runtime[2])


def _numpy_for(library: str, version: str) -> str:
    """Built against numpy 1: every tflite-runtime, onnxruntime before 1.19, ai-edge-litert before 1.1."""
    first = {"onnxruntime": "1.19", "ai-edge-litert": "1.1"}.get(library)
    return "numpy" if first and not _before(version, first) else "numpy<2"


def _python_for(library: str, version: str) -> tuple[str, str]:
    """The Pythons that wheels of the library were published for (PyPI's file lists)."""
    for name, below, oldest, newest in _PYTHONS:
        if name == library and _before(version, below):
            return (oldest, newest)
    raise AssertionError(library)


def _before(version: str, other: str) -> bool:
    return version_key(version) < version_key(other)
