"""A model file as it is, unpacked the way a bundle would be: tensors as its runtime tells them, and what the device does around it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tiny_model import TinyBundle
from converters.load import load_source
from edge_agent.bundle.golden import tensor_bytes
from edge_agent.bundle.manifest import FileEntry, GoldenCase, GoldenTensor, Manifest, RuntimeRequirement, StateSpec, Step, to_json
from edge_agent.bundle.manifest_reader import from_json
from edge_agent.runtimes.choose import load_model_file
from edge_agent.values import TensorSpec

Specs = tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class Around:
    """What a manifest says beside the model. ``sizes`` fills dimensions that the file leaves free, by tensor name; ``golden`` are
    inputs and the outputs that must come (none: any will do); the first is what the model is warmed up with."""

    preprocess: tuple[Step, ...] = ()
    postprocess: tuple[Step, ...] = ()
    labels: tuple[str, ...] = ()
    state: StateSpec | None = None
    sizes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    golden: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...] = ()


PLAIN = Around()


def as_it_is(model: Path, folder: Path, around: Around = PLAIN, *, specs: tuple[Specs, Specs] | None = None) -> TinyBundle:
    """The bundle of ``model`` in ``folder``, named after the file. Raises ModelError where its runtime refuses it; with ``specs``
    (inputs, outputs) it is not asked."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = model.suffix[1:]
    copy = folder / f"model{model.suffix}"
    # With external weights inside, as the converter packs it; what is not to be looked into goes as it is.
    copy.write_bytes(model.read_bytes() if specs else load_source(model).data)
    inputs, outputs = specs or asked(copy)
    golden = tuple(_case(folder, number, *case) for number, case in enumerate(around.golden))
    held = [folder / tensor.path for case in golden for tensor in (*case.inputs, *case.outputs)]
    files = (_entry(copy, "model"), *(_entry(path, "golden") for path in held))
    manifest = Manifest(
        name=_name(model),
        version="1",
        runtime=RuntimeRequirement(kind),
        files=files,
        inputs=tuple(_filled(spec, around.sizes) for spec in inputs),
        outputs=tuple(_filled(spec, around.sizes) for spec in outputs),
        preprocess=around.preprocess,
        postprocess=around.postprocess,
        labels=around.labels,
        state=around.state,
        golden=golden,
    )
    manifest = from_json(to_json(manifest))  # as a device would read it
    return TinyBundle(manifest, folder, hashlib.sha256(to_json(manifest)).hexdigest())


def _case(folder: Path, number: int, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> GoldenCase:
    return GoldenCase(_golden(folder, f"{number}i", inputs), _golden(folder, f"{number}o", outputs))


def _golden(folder: Path, prefix: str, arrays: Mapping[str, Any]) -> tuple[GoldenTensor, ...]:
    """``arrays`` in files of their own, of names that begin with ``prefix``."""
    tensors = []
    for at, (name, array) in enumerate(arrays.items()):
        path = f"golden-{prefix}{at}.bin"
        (folder / path).write_bytes(tensor_bytes(array))
        tensors.append(GoldenTensor(name, path, str(array.dtype), np.shape(array)))
    return tuple(tensors)


def _entry(path: Path, role: str) -> FileEntry:
    data = path.read_bytes()
    return FileEntry(path.name, role, len(data), hashlib.sha256(data).hexdigest())


def asked(model: Path) -> tuple[Specs, Specs]:
    """Inputs and outputs as the runtime of ``model`` tells them."""
    runtime = load_model_file(model)
    try:
        return runtime.inputs, runtime.outputs
    finally:
        runtime.close()


def _name(model: Path) -> str:
    """The file's name in the letters a model may have."""
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in model.stem)[:64].lstrip("._-")


def _filled(spec: TensorSpec, sizes: Mapping[str, Sequence[int]]) -> TensorSpec:
    want = sizes.get(spec.name)
    return spec if want is None else replace(spec, shape=tuple(want))
