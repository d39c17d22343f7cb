"""Weights that lie beside an ONNX model: what the model's file says of them must be what the bundle holds.

A model file could name any file of the device as its weights, or ask for bytes beyond the end of one (a runtime that maps them would be
killed when it reads there). So it is looked at before anything opens it.
"""

from __future__ import annotations

import mmap
from pathlib import Path, PurePosixPath

from edge_agent.bundle.manifest import Manifest
from edge_agent.bundle.onnx_outside import outside_tensors
from edge_agent.errors import BundleError

_KEY = b"location"
"""Stands in every ONNX file that keeps a tensor outside."""


def check_weights(manifest: Manifest, data: bytes | mmap.mmap) -> None:
    """Raises :class:`BundleError` unless the tensors that the model in ``data`` keeps outside lie within the bundle's weights, and every
    file of weights is needed."""
    if manifest.runtime.name != "onnx" or (not manifest.weights_files and data.find(_KEY) < 0):
        return
    sizes = {PurePosixPath(entry.path).name: entry.bytes for entry in manifest.weights_files}
    used = set()
    model = manifest.model_file.path
    with memoryview(data) as view:
        try:
            for tensor in outside_tensors(view):
                there = sizes.get(tensor.location)
                if there is None:
                    held = ", ".join(sizes) or "none"
                    raise BundleError(f"tensor {tensor.tensor!r} lies in {tensor.location!r}; the bundle's files of weights: {held}")
                if tensor.offset + tensor.length > there:
                    end = tensor.offset + tensor.length
                    raise BundleError(f"tensor {tensor.tensor!r} ends at byte {end} of {tensor.location}, which has {there}")
                used.add(tensor.location)
        except BundleError as error:
            raise BundleError(f"{model}: {error}") from None
    if unused := sorted(set(sizes) - used):
        raise BundleError(f"{model}: keeps no tensor in {', '.join(unused)}, which the manifest says are its weights")


def check_weights_in(folder: Path, manifest: Manifest) -> None:
    """As :func:`check_weights`, for the model unpacked in ``folder``; it is mapped, not read. Raises OSError too."""
    if manifest.runtime.name != "onnx" or not manifest.model_file.bytes:
        return
    with (folder / manifest.model_file.path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        check_weights(manifest, data)
