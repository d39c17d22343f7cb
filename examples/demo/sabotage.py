"""A version that passes every hash and gives wrong answers: what a mixed-up training run or a bad export looks like."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from edge_agent.bundle.archive import read_bundle, write_bundle


def swap_labels_in_model(source: Path, target: Path, *, version: str) -> None:
    """Write ``target``: the bundle ``source`` with a model from another training run, but the golden answers of the original.

    The other model is the same file with its largest block of constant bytes turned around, so it loads and runs as fast as the
    right one. File hashes, manifest and (after publishing) signatures are all valid.
    """
    manifest, files = read_bundle(source)
    entry = manifest.model_file
    spoiled = _turn_weights(files[entry.path])
    changed = replace(entry, sha256=sha256(spoiled).hexdigest(), bytes=len(spoiled))
    entries = tuple(changed if f.role == "model" else f for f in manifest.files)
    write_bundle(target, replace(manifest, version=version, files=entries), {**files, entry.path: spoiled})


def _turn_weights(model: bytes) -> bytes:
    """The model file with the bytes in its middle reversed: well inside the weights of a model this small."""
    middle, half = len(model) // 2, max(64, len(model) // 16)
    a, b = middle - half, middle + half
    return model[:a] + model[a:b][::-1] + model[b:]
