"""Which runtime runs a model, and whether the installed one may."""

from __future__ import annotations

import importlib
from pathlib import Path

from edge_agent.bundle.manifest import Manifest, RuntimeRequirement
from edge_agent.errors import ModelError, RuntimeMissing
from edge_agent.ports import Runtime
from edge_agent.runtimes import onnx, tflite
from edge_agent.runtimes.environment import prepare_environment
from edge_agent.runtimes.installed import onnx_library, tflite_library
from edge_agent.runtimes.options import RuntimeOptions
from edge_agent.runtimes.tensors import fits
from edge_agent.versions import version_key

EXTRAS = {"onnx": "edge-runtime[onnx]", "tflite": "edge-runtime[tflite]"}
_BY_EXTENSION = {".onnx": "onnx", ".tflite": "tflite"}


def load_runtime(manifest: Manifest, folder: Path, *, threads: int = 1, options: RuntimeOptions | None = None) -> Runtime:
    """The model of the unpacked bundle in ``folder``, loaded by the runtime its manifest asks for. ``options`` say more than ``threads``
    and go before it.

    Raises :class:`RuntimeMissing` when that is absent, too old or excluded, :class:`ModelError` when it refuses the file or the model's
    inputs are not those the manifest declares.
    """
    check_requirement(manifest.runtime)
    path, options = folder / manifest.model_file.path, options or RuntimeOptions(threads)
    _check_weights(manifest, folder)
    runtime = _load(manifest.runtime.name, path, options, keep_state=manifest.keeps_state_in_graph)
    _check_specs(manifest, runtime)
    return runtime


def load_model_file(path: Path, *, threads: int = 1, options: RuntimeOptions | None = None) -> Runtime:
    """The model in ``path``, by its extension. Raises :class:`ModelError`, :class:`RuntimeMissing`."""
    name = _BY_EXTENSION.get(path.suffix.lower())
    if name is None:
        raise ModelError(f"{path.name}: unknown kind of model {path.suffix!r}; {' and '.join(_BY_EXTENSION)} can be loaded")
    return _load(name, path, options or RuntimeOptions(threads))


def preimport(names: tuple[str, ...]) -> None:
    """Imports the libraries of these runtimes (and numpy) and has them make what all models share, so that processes forked later need
    not; absent ones are passed over."""
    for name in names:
        try:
            _import(name)
        except RuntimeMissing:
            continue


def check_requirement(requirement: RuntimeRequirement) -> None:
    """Raises :class:`RuntimeMissing` unless the installed runtime satisfies ``requirement``.

    Versions are those of whichever library is installed; what it computes is for the golden inputs to judge.
    """
    library = onnx_library() if requirement.name == "onnx" else tflite_library()
    version = library[1] if library else None
    if version is None:
        raise RuntimeMissing(f"the model needs {requirement.name}, which is not installed: pip install '{EXTRAS[requirement.name]}'")
    if requirement.minimum and version_key(version) < version_key(requirement.minimum):
        raise RuntimeMissing(
            f"the model needs {requirement.name} {requirement.minimum} or newer, {version} is installed: "
            f"pip install -U '{EXTRAS[requirement.name]}'"
        )
    if version_key(version) in map(version_key, requirement.excluded):
        raise RuntimeMissing(f"the model must not run on {requirement.name} {version}, which is installed: install another version")


def _load(name: str, path: Path, options: RuntimeOptions, *, keep_state: bool = False) -> Runtime:
    if name == "onnx":
        return onnx.OnnxRuntime(path, options)
    return tflite.TfliteRuntime(path, options, keep_state=keep_state)


def _import(name: str) -> None:
    prepare_environment()
    if name == "onnx":
        onnx.warm_up()
    elif name == "tflite":
        tflite.import_interpreter()
    importlib.import_module("numpy")


def _check_weights(manifest: Manifest, folder: Path) -> None:
    """A file that became shorter since it was unpacked would kill the process that reads mapped weights beyond its end."""
    for entry in manifest.weights_files:
        try:
            there = (folder / entry.path).stat().st_size
        except OSError as error:
            raise ModelError(f"{entry.path}: the model's weights cannot be opened ({error.strerror})") from None
        if there != entry.bytes:
            raise ModelError(f"{entry.path}: the model's weights have {there} bytes, the manifest says {entry.bytes}: the file is damaged")


def _check_specs(manifest: Manifest, runtime: Runtime) -> None:
    """The manifest's tensors must be the model's, else preprocessing would prepare the wrong arrays."""
    for what, declared, actual in (("input", manifest.inputs, runtime.inputs), ("output", manifest.outputs, runtime.outputs)):
        there = {spec.name: spec for spec in actual}
        for spec in declared:
            real = there.get(spec.name)
            if real is None:
                raise ModelError(f"{what} {spec.name}: the manifest names it, the model has {', '.join(there)}")
            if real.dtype != spec.dtype or not fits(spec.shape, real.shape):
                raise ModelError(f"{what} {spec.name}: the manifest says {spec.dtype} {spec.shape}, the model {real.dtype} {real.shape}")
        if what == "input" and len(there) != len(declared):
            raise ModelError(f"the model has inputs {', '.join(there)}, the manifest names {len(declared)}")
