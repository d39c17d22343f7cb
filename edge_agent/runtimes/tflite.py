"""TensorFlow Lite models behind the :class:`~edge_agent.ports.Runtime` port: LiteRT where it exists, else tflite-runtime.

The model is given by path, so its weights are mapped from the file and not copied. Tensor details are read once (asking each time costs
six times the inference of a tiny model); tensors go in and out by copy (views forbid the next invoke while one is held, and where tensors
lie changes with their shapes). Every inference
starts from zeroed variables (0.3 µs): a recurrent layer would else carry the state of one window into the next, which is another sequence.
Only a model whose manifest says that its graph keeps state is spared that.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from edge_agent.errors import ModelError, RuntimeMissing
from edge_agent.runtimes import distributions
from edge_agent.runtimes.distributions import NotInstalled
from edge_agent.runtimes.environment import prepare_environment
from edge_agent.runtimes.installed import VersionOf, tflite_library
from edge_agent.runtimes.options import Delegate, RuntimeOptions
from edge_agent.runtimes.tensors import TensorCheck, bindable, first_line
from edge_agent.values import DTYPES, TensorSpec

_IDENTIFIER = b"TFL3"  # bytes 4-8 of every TensorFlow Lite flatbuffer


@dataclass(frozen=True, slots=True)
class InterpreterLibrary:
    """The library chosen, its version, its ``Interpreter`` class and its ``load_delegate``."""

    name: str
    version: str
    interpreter: Callable[..., Any]
    load_delegate: Callable[..., Any]


def numpy_conflict(library: str, version_of: VersionOf = distributions.version_of) -> str:
    """Why ``library`` cannot work with the installed numpy; empty when it can.

    tflite-runtime is built against numpy 1: with numpy 2 it imports, and fails only when a model is opened.
    """
    numpy_version = version_of("numpy")
    if library == "tflite-runtime" and int(numpy_version.split(".")[0]) >= 2:
        return f"tflite-runtime does not work with numpy {numpy_version}: pip install 'numpy<2', or install ai-edge-litert instead"
    return ""


def import_interpreter() -> InterpreterLibrary:
    """The best installed library. Raises :class:`RuntimeMissing` saying what to install."""
    found = tflite_library()
    if found is None:
        raise RuntimeMissing("neither ai-edge-litert nor tflite-runtime is installed: pip install 'edge-runtime[tflite]'")
    name, version = found
    prepare_environment()
    try:
        conflict = numpy_conflict(name)
        if conflict:
            raise RuntimeMissing(conflict)
        if name == "ai-edge-litert":
            from ai_edge_litert.interpreter import Interpreter, load_delegate
        else:
            from tflite_runtime.interpreter import Interpreter, load_delegate
    except (ImportError, NotInstalled) as error:
        raise RuntimeMissing(f"{name} {version} is installed but cannot be imported: {first_line(error)}") from error
    return InterpreterLibrary(name, version, Interpreter, load_delegate)


class TfliteRuntime:
    """A loaded TensorFlow Lite model. Raises :class:`ModelError` for a file the runtime refuses, :class:`RuntimeMissing` for a delegate
    that cannot be loaded.

    ``notes`` tell what was asked for and could not be had. With ``keep_state`` variables in the graph last from one inference to the next,
    until :meth:`reset_state`.
    """

    def __init__(self, path: Path, options: RuntimeOptions | None = None, *, keep_state: bool = False) -> None:
        options = options or RuntimeOptions()
        library = import_interpreter()
        self.name = library.name
        self.version = library.version
        _check_file(path)
        delegates, self.notes = load_delegates(library, options)
        self._interpreter = _open_interpreter(library, path, options.threads, delegates)
        _check_variables(path, self._interpreter)
        self._in = self._interpreter.get_input_details()
        self._out = self._interpreter.get_output_details()
        self.inputs = tuple(_spec(path, detail) for detail in self._in)
        self.outputs = tuple(_spec(path, detail) for detail in self._out)
        self._feeds = tuple((detail["index"], detail["name"]) for detail in self._in)
        self._fetches = tuple((detail["index"], detail["name"]) for detail in self._out)
        self._shapes = [tuple(int(size) for size in detail["shape"]) for detail in self._in]
        self._check = TensorCheck(self.inputs)
        self._keep_state = keep_state

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """One inference; arrays by tensor name in and out. Raises :class:`ModelError` naming the tensor or giving the runtime's reason."""
        self._check(arrays)
        interpreter = self._interpreter
        try:
            self._fit_shapes(arrays)
            if not self._keep_state:
                interpreter.reset_all_variables()
            for index, name in self._feeds:
                interpreter.set_tensor(index, arrays[name])
            interpreter.invoke()
            return {name: interpreter.get_tensor(index) for index, name in self._fetches}
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{self.name} {self.version}: inference failed: {first_line(error)}") from error

    def reset_state(self) -> None:
        """Zeroes the variables in the graph, as a fresh model has them."""
        self._interpreter.reset_all_variables()

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Callable[[], None] | None:
        """One inference from ``inputs`` into ``outputs``, one copy each way, as often as it is called; None where that cannot be.

        The call raises :class:`ModelError`. It keeps the model in memory.
        """
        if not bindable(inputs, self.inputs) or not bindable(outputs, self.outputs):
            return None
        interpreter = self._interpreter
        reset, invoke, write = interpreter.reset_all_variables, interpreter.invoke, interpreter.set_tensor
        feeds = [(index, inputs[name]) for index, name in self._feeds]
        fetches = [(interpreter.tensor(index), outputs[name], outputs[name].shape) for index, name in self._fetches]
        shapes = [array.shape for _, array in feeds]

        def infer() -> None:
            try:
                if self._shapes != shapes:
                    self._resize(shapes)
                if not self._keep_state:
                    reset()
                for index, array in feeds:
                    write(index, array)
                invoke()
                for view, array, shape in fetches:
                    if (answer := view()).shape != shape:
                        raise ValueError(f"an output has shape {answer.shape}, its place {shape}")
                    array[...] = answer
                    answer = None
            except (RuntimeError, ValueError) as error:
                raise ModelError(f"{self.name} {self.version}: inference failed: {first_line(error)}") from error

        return infer

    def stop(self) -> bool:
        """False: the library's Python interface has no way to end an inference; end the process."""
        return False

    def close(self) -> None:
        """Lets go of the model's memory and file."""
        self._interpreter = None

    def _fit_shapes(self, arrays: Mapping[str, Any]) -> None:
        """Resizes inputs with free dimensions when this call fills them differently from the last."""
        shapes = [arrays[name].shape for _, name in self._feeds]
        if shapes != self._shapes:
            self._resize(shapes)

    def _resize(self, shapes: list[tuple[int, ...]]) -> None:
        for (index, _), shape in zip(self._feeds, shapes, strict=True):
            self._interpreter.resize_tensor_input(index, shape)
        self._interpreter.allocate_tensors()
        self._shapes = shapes


def load_delegates(library: InterpreterLibrary, options: RuntimeOptions) -> tuple[list[Any], tuple[str, ...]]:
    """The delegates asked for, and what must be told of those that cannot be loaded (:class:`RuntimeMissing` without fall-back)."""
    loaded, notes = [], []
    for delegate in options.delegates:
        try:
            ctypes.CDLL(delegate.path)  # the library's own class complains on standard error when this fails
            loaded.append(library.load_delegate(delegate.path, dict(delegate.options)))
        except (OSError, ValueError, RuntimeError) as error:
            lack = f"the delegate {delegate.path} cannot be loaded: {first_line(error)}; {_where_to_get(delegate)}"
            if not options.fallback:
                raise RuntimeMissing(lack) from error
            notes.append(f"{lack}; the processor does its work")
    return loaded, tuple(notes)


def _where_to_get(delegate: Delegate) -> str:
    if "edgetpu" in delegate.path:
        return "install Coral's libedgetpu1-std and plug the accelerator in"
    return "install the library, or name its path in the device profile"


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    if head[4:] != _IDENTIFIER:
        raise ModelError(f"{path.name}: is not a TensorFlow Lite model")


def _open_interpreter(library: InterpreterLibrary, path: Path, threads: int, delegates: list[Any]) -> Any:
    with _stderr_aside() as said:
        try:
            interpreter = library.interpreter(model_path=str(path), num_threads=threads, experimental_delegates=delegates or None)
            interpreter.allocate_tensors()
        except Exception as error:  # ValueError, RuntimeError, SystemError, by library and version
            detail = _last_line(said) or first_line(error)
            raise ModelError(f"{path.name}: {library.name} {library.version} refuses it: {detail}") from error
    return interpreter


def _check_variables(path: Path, interpreter: Any) -> None:
    """Variables that are resources and no tensors survive ``reset_all_variables``: one stream would go on with the state of another."""
    native = getattr(interpreter, "_interpreter", None)  # the public interface does not name a model's operators
    if native is not None and any(native.NodeName(index) == "VAR_HANDLE" for index in range(native.NumNodes())):
        raise ModelError(
            f"{path.name}: keeps state in resource variables (VAR_HANDLE), which the runtime cannot zero: "
            "export it with its state as inputs and outputs, or as variable tensors"
        )


@contextmanager
def _stderr_aside() -> Iterator[BinaryIO]:
    """Catches what native code prints on descriptor 2 while a model loads; LiteRT announces itself there and offers no switch."""
    with tempfile.TemporaryFile() as said:
        kept = os.dup(2)
        try:
            os.dup2(said.fileno(), 2)
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _last_line(said: BinaryIO) -> str:
    said.seek(0)
    lines = [line for line in said.read(1 << 16).decode("utf-8", "replace").splitlines() if line.startswith("ERROR")]
    return lines[-1][:300] if lines else ""


def _spec(path: Path, detail: Mapping[str, Any]) -> TensorSpec:
    """Name, dtype, shape (free where the signature says so) and per-tensor quantization."""
    dtype = getattr(detail["dtype"], "__name__", str(detail["dtype"])).removesuffix("_")
    if dtype not in DTYPES:
        raise ModelError(f"{path.name}: tensor {detail['name']} has type {dtype}, which is not supported")
    signature = detail.get("shape_signature", detail["shape"])
    shape = tuple(None if size < 0 else int(size) for size in signature)
    scale, zero_point = detail["quantization"]
    quantized = scale > 0
    return TensorSpec(detail["name"], dtype, shape, float(scale) if quantized else None, int(zero_point) if quantized else None)
