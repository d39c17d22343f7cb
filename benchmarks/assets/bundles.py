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
    """What a manifest says beside the model. ``sizes`` fills dimensions that the file leaves free, by tensor name; ``warm`` is what it is
    warmed up with (without, zeros)."""

    preprocess: tuple[Step, ...] = ()
    postprocess: tuple[Step, ...] = ()
    labels: tuple[str, ...] = ()
    state: StateSpec | None = None
    sizes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    warm: Mapping[str, Any] = field(default_factory=dict)


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
    golden = tuple(_golden(folder, at, name, array) for at, (name, array) in enumerate(around.warm.items()))
    files = (_entry(copy, "model"), *(_entry(folder / tensor.path, "golden") for tensor in golden))
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
        golden=(GoldenCase(golden, ()),) if golden else (),
    )
    manifest = from_json(to_json(manifest))  # as a device would read it
    return TinyBundle(manifest, folder, hashlib.sha256(to_json(manifest)).hexdigest())


def _golden(folder: Path, at: int, name: str, array: Any) -> GoldenTensor:
    path = f"golden{at}.bin"
    (folder / path).write_bytes(tensor_bytes(array))
    return GoldenTensor(name, path, str(array.dtype), np.shape(array))


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
