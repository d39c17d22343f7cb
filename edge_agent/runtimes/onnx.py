"""ONNX Runtime behind the :class:`~edge_agent.ports.Runtime` port.

Defaults by measurement: the model is read from its path; the arena stays on (with malloc thresholds set by the process it is the smaller
and faster choice); one thread, which does not spin between inferences (spinning costs half a core at 10 Hz).

The library's Python classes are passed over once a session stands: on a model of 2 µs they cost 3 µs a run, and 33 µs a run with bound
tensors (1.31 proves every binding anew); the compiled objects beneath take 2 µs with bound tensors.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge_agent.errors import ModelError, RuntimeMissing
from edge_agent.runtimes.environment import prepare_environment
from edge_agent.runtimes.installed import onnx_library
from edge_agent.runtimes.options import Provider, RuntimeOptions
from edge_agent.runtimes.tensors import TensorCheck, bindable, first_line
from edge_agent.values import DTYPES, TensorSpec

BROKEN_VERSIONS = ("1.21.0",)
"""1.21.0 dies with an illegal instruction on Cortex-A72 and A53 (microsoft/onnxruntime #23957)."""

CPU = "CPUExecutionProvider"
_ELEMENT_TYPES = {"float": "float32", "double": "float64"}


def import_onnxruntime() -> Any:
    """The module, with telemetry off. Raises :class:`RuntimeMissing` when it is absent or a version that must not be imported."""
    if (imported := sys.modules.get("onnxruntime")) is not None:
        return imported  # by warm_up before this process was forked; to look the version up again would cost more than to load a model
    found = onnx_library()
    if found is None:
        raise RuntimeMissing("onnxruntime is not installed: pip install 'edge-runtime[onnx]'")
    if found[1] in BROKEN_VERSIONS:
        raise RuntimeMissing(f"{found[0]} {found[1]} crashes on Cortex-A72 and A53: pip install -U '{found[0]}!={found[1]}'")
    prepare_environment()
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeMissing(f"{found[0]} {found[1]} is installed but cannot be imported: {first_line(error)}") from error
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


_IDENTITY = (
    b'\x08\x08\x12\x00:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
"""The smallest model: y = x, one float (ONNX opset 13)."""


def warm_up() -> None:
    """Imports the library and has it make the tables that all sessions share: 1.7 MiB that each forked process would else make for itself,
    and a third of the time it takes to load a small model. Starts no thread. Raises :class:`RuntimeMissing` as the import does."""
    ort = import_onnxruntime()
    ort.InferenceSession(_IDENTITY, session_options(ort, RuntimeOptions()), providers=[CPU])


class OnnxRuntime:
    """A loaded ONNX model. Raises :class:`ModelError` for a file the runtime refuses, :class:`RuntimeMissing` for a provider it lacks.

    ``notes`` tell what was asked for and could not be had.
    """

    def __init__(self, path: Path, options: RuntimeOptions | None = None) -> None:
        ort = import_onnxruntime()
        options = options or RuntimeOptions()
        self.name = "onnxruntime"
        self.version: str = ort.__version__
        providers, self.notes = choose_providers(options, ort.get_available_providers(), self.version)
        self._session = _open_session(ort, path, options, providers)
        self.notes += _unused(providers, self._session.get_providers())
        self._native = ort.capi.onnxruntime_pybind11_state
        self._core = self._session._sess
        self._run_options = self._native.RunOptions()
        self._stopped = False
        self.inputs = tuple(_spec(path, node) for node in self._session.get_inputs())
        self.outputs = _numeric_outputs(path, self._session.get_outputs())
        self._output_names = [spec.name for spec in self.outputs]
        self._check = TensorCheck(self.inputs)

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """One inference; arrays by tensor name in and out. Raises :class:`ModelError` naming the tensor or giving the runtime's reason."""
        self._check(arrays)
        if self._stopped:
            self._start_anew()
        try:
            results = self._core.run(self._output_names, {spec.name: arrays[spec.name] for spec in self.inputs}, self._run_options)
        except Exception as error:  # the runtime's own exception types are private to it
            raise self._failure(error) from error
        return dict(zip(self._output_names, results, strict=True))

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Callable[[], None] | None:
        """One inference that reads ``inputs`` and writes ``outputs`` where they lie, as often as it is called; None where that cannot be.

        The arrays must be C-contiguous and stay where they are. The call raises :class:`ModelError`. It keeps the model in memory.
        """
        if not bindable(inputs, self.inputs) or not bindable(outputs, self.outputs):
            return None
        native, binding = self._native, self._native.SessionIOBinding(self._core)
        cpu = native.OrtDevice(native.OrtDevice.cpu(), native.OrtDevice.default_memory(), 0)
        kept = []
        for arrays, tie in ((inputs, binding.bind_ortvalue_input), (outputs, binding.bind_ortvalue_output)):
            for name, array in arrays.items():
                value = native.OrtValue.ortvalue_from_numpy(array, cpu)
                if value.data_ptr() != array.ctypes.data:
                    return None  # a copy: what is written there would never be seen
                tie(name, value)
                kept.append((array, value))
        return self._bound(binding, kept)

    def _bound(self, binding: Any, kept: list[Any]) -> Callable[[], None]:
        run = self._core.run_with_iobinding

        def infer(kept: list[Any] = kept) -> None:  # the memory must live as long as the binding to it
            if self._stopped:
                self._start_anew()
            try:
                run(binding, self._run_options)
            except Exception as error:  # the runtime's own exception types are private to it
                raise self._failure(error) from error

        return infer

    def stop(self) -> bool:
        """From another thread: the inference under way ends soon with :class:`ModelError`, at the latest after its present operator.

        With none under way nothing happens. True: this runtime can do it.
        """
        self._stopped = True
        self._run_options.terminate = True
        return True

    def close(self) -> None:
        """Lets go of the model's memory."""
        self._session = self._core = None

    def _start_anew(self) -> None:
        self._run_options = self._native.RunOptions()
        self._stopped = False

    def _failure(self, error: Exception) -> ModelError:
        if self._stopped:
            self._start_anew()
            return ModelError(f"onnxruntime {self.version}: the inference was stopped")
        return ModelError(f"onnxruntime {self.version}: inference failed: {first_line(error)}")


def choose_providers(options: RuntimeOptions, available: list[str], version: str) -> tuple[list[Provider], tuple[str, ...]]:
    """The providers to ask for, the processor last, and what must be told of those that are not there.

    Raises :class:`RuntimeMissing` for one that the installed wheel lacks when there is no fall-back.
    """
    chosen, notes = [], []
    for provider in options.providers:
        if provider.name in available:
            chosen.append(provider)
            continue
        lack = f"{provider.name} is not in the installed onnxruntime {version}, which has {', '.join(available)}; {_where_to_get(provider)}"
        if not options.fallback:
            raise RuntimeMissing(lack)
        notes.append(f"{lack}; the processor does its work")
    if all(provider.name != CPU for provider in chosen):
        chosen.append(Provider(CPU))
    return chosen, tuple(notes)


def _where_to_get(provider: Provider) -> str:
    if provider.name in ("CUDAExecutionProvider", "TensorrtExecutionProvider"):
        return "install NVIDIA's onnxruntime-gpu wheel for this JetPack (docs/runtimes.md)"
    return "install a build of onnxruntime that has it"


def _unused(asked: list[Provider], used: list[str]) -> tuple[str, ...]:
    """A provider whose libraries (CUDA, TensorRT) are missing is dropped by the runtime without an error."""
    return tuple(f"{p.name} could not start, its libraries are missing or do not fit; it is not used" for p in asked if p.name not in used)


def _open_session(ort: Any, path: Path, options: RuntimeOptions, providers: list[Provider]) -> Any:
    if not path.is_file():
        raise ModelError(f"{path}: there is no such model file")
    settings = session_options(ort, options)
    try:
        session = ort.InferenceSession(str(path), settings, providers=[(p.name, dict(p.options)) for p in providers])
    except Exception as error:  # the runtime's own exception types are private to it
        raise ModelError(f"{path.name}: onnxruntime {ort.__version__} refuses it: {_why(error, path)}") from error
    lost = _unused(providers, session.get_providers())
    if lost and not options.fallback:
        raise RuntimeMissing(lost[0])
    return session


def session_options(ort: Any, options: RuntimeOptions) -> Any:
    """``options`` in the library's own words (onnxruntime_session_options_config_keys.h)."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    settings.enable_cpu_mem_arena = options.arena
    spin = "1" if options.spinning else "0"
    settings.add_session_config_entry("session.intra_op.allow_spinning", spin)
    settings.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if not options.prepack:
        settings.add_session_config_entry("session.disable_prepacking", "1")
    return settings


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
