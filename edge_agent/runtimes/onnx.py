"""ONNX Runtime behind the :class:`~edge_agent.ports.Runtime` port.

Options by measurement: the model is read from its path; the arena stays on (with malloc thresholds set by the process it is the smaller and
faster choice); threads do not spin between inferences (spinning costs half a core at 10 Hz); plain ``session.run`` (I/O binding gains
2 µs on a millisecond model).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_agent.errors import ModelError, RuntimeMissing
from edge_agent.runtimes.installed import onnx_library
from edge_agent.runtimes.tensors import TensorCheck, first_line
from edge_agent.values import DTYPES, TensorSpec

BROKEN_VERSIONS = ("1.21.0",)
"""1.21.0 dies with an illegal instruction on Cortex-A72 and A53 (microsoft/onnxruntime #23957)."""

_ELEMENT_TYPES = {"float": "float32", "double": "float64"}


def import_onnxruntime() -> Any:
    """The module, with telemetry off. Raises :class:`RuntimeMissing` when it is absent or a version that must not be imported."""
    found = onnx_library()
    if found is None:
        raise RuntimeMissing("onnxruntime is not installed: pip install 'edge-runtime[onnx]'")
    if found[1] in BROKEN_VERSIONS:
        raise RuntimeMissing(f"{found[0]} {found[1]} crashes on Cortex-A72 and A53: pip install -U '{found[0]}!={found[1]}'")
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeMissing(f"{found[0]} {found[1]} is installed but cannot be imported: {first_line(error)}") from error
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


class OnnxRuntime:
    """A loaded ONNX model on the CPU. Raises :class:`ModelError` for a file the runtime refuses."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        ort = import_onnxruntime()
        self.name = "onnxruntime"
        self.version: str = ort.__version__
        self._session = _open_session(ort, path, threads)
        self.inputs = tuple(_spec(path, node) for node in self._session.get_inputs())
        self.outputs = _numeric_outputs(path, self._session.get_outputs())
        self._output_names = [spec.name for spec in self.outputs]
        self._check = TensorCheck(self.inputs)

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """One inference; arrays by tensor name in and out. Raises :class:`ModelError` naming the tensor or giving the runtime's reason."""
        self._check(arrays)
        try:
            results = self._session.run(self._output_names, {spec.name: arrays[spec.name] for spec in self.inputs})
        except Exception as error:  # the runtime's own exception types are private to it
            raise ModelError(f"onnxruntime {self.version}: inference failed: {first_line(error)}") from error
        return dict(zip(self._output_names, results, strict=True))

    def close(self) -> None:
        """Lets go of the model's memory."""
        self._session = None


def _open_session(ort: Any, path: Path, threads: int) -> Any:
    if not path.is_file():
        raise ModelError(f"{path}: there is no such model file")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = True
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exception types are private to it
        raise ModelError(f"{path.name}: onnxruntime {ort.__version__} refuses it: {_why(error, path)}") from error


def _why(error: Exception, path: Path) -> str:
    """Its message without the place in its own source, and without our folder, which may be a temporary one."""
    return re.sub(r"/\S*onnxruntime/\S+:\d+ (\S.*?\) (?=[A-Z[]))?", " ", first_line(error, limit=1000)).replace(str(path), path.name)[:300]


def _numeric_outputs(path: Path, nodes: Any) -> tuple[TensorSpec, ...]:
    """The outputs that are tensors of numbers; others (a classifier's text label beside its scores) are left uncomputed."""
    specs = tuple(_spec(path, node) for node in nodes if _dtype(node) in DTYPES)
    if not specs:
        raise ModelError(f"{path.name}: has no output of numbers, only {', '.join(f'{node.name} {node.type}' for node in nodes)}")
    return specs


def _dtype(node: Any) -> str:
    """``tensor(float)`` and its like to numpy words."""
    element = str(node.type).removeprefix("tensor(").removesuffix(")")
    return _ELEMENT_TYPES.get(element, element)


def _spec(path: Path, node: Any) -> TensorSpec:
    """Name, dtype and shape; named dimensions are free ones."""
    dtype = _dtype(node)
    if dtype not in DTYPES:
        raise ModelError(f"{path.name}: tensor {node.name} has type {node.type}, which is not supported")
    shape = tuple(size if isinstance(size, int) and size > 0 else None for size in node.shape)
    return TensorSpec(node.name, dtype, shape)
