"""The networks as bundles: manifest, model, one golden case that ONNX Runtime answered."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.folder_store import TinyBundle
from benchmarks.inference.nets import Net, bare_session
from edge_agent.bundle.manifest import FileEntry, GoldenCase, GoldenTensor, Manifest, RuntimeRequirement, Step, to_json
from edge_agent.values import TensorSpec


def bundle_of(net: Net, folder: Path, *, version: str = "1", seed: int = 0, external: bool = False) -> TinyBundle:
    """Unpacked into ``folder``. A window is one sample of the input's values, flat."""
    model = net.save(folder / "model.onnx", seed, external=external)
    golden = _golden(net, model, folder)
    roles = {path.name: "golden" if path.suffix == ".bin" else "model" if path == model else "weights" for path in sorted(folder.iterdir())}
    manifest = Manifest(
        name=net.name,
        version=version,
        runtime=RuntimeRequirement("onnx"),
        files=tuple(_entry(folder / name, role) for name, role in roles.items()),
        inputs=(TensorSpec("x", "float32", net.size),),
        outputs=(TensorSpec("y", "float32", (1, net.classes)),),
        preprocess=(Step("reshape", {"shape": list(net.size)}),),
        postprocess=(Step("argmax"),),
        labels=tuple(f"class {index}" for index in range(net.classes)),
        golden=(golden,),
        created="2026-01-01T00:00:00Z",
    )
    (folder / "manifest.json").write_bytes(to_json(manifest))
    return TinyBundle(manifest, folder, hashlib.sha256(to_json(manifest)).hexdigest())


def share_equal_files(bundles: Sequence[TinyBundle]) -> None:
    """Files of equal content become one file with several names, so that the page cache holds them once."""
    first: dict[str, Path] = {}
    for bundle in bundles:
        for entry in bundle.manifest.files:
            path = bundle.folder / entry.path
            known = first.setdefault(entry.sha256, path)
            if known != path:
                path.unlink()
                path.hardlink_to(known)


def _golden(net: Net, model: Path, folder: Path) -> GoldenCase:
    x = net.sample(1)
    (y,) = bare_session(model).run(None, {"x": x})
    return GoldenCase((_tensor(folder, "x", x),), (_tensor(folder, "y", y),))


def _tensor(folder: Path, name: str, value: Any) -> GoldenTensor:
    (folder / f"golden_{name}.bin").write_bytes(value.tobytes())
    return GoldenTensor(name, f"golden_{name}.bin", "float32", value.shape)


def _entry(path: Path, role: str) -> FileEntry:
    data = path.read_bytes()
    return FileEntry(path.name, role, len(data), hashlib.sha256(data).hexdigest())
