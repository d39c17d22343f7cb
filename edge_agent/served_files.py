"""Model files served as they are, without a store: what ``edge-agent serve`` gives the engine for one."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge_agent.bundle import archive
from edge_agent.bundle.archive import sha256_file
from edge_agent.bundle.manifest import FileEntry, Manifest, RuntimeRequirement, valid_name
from edge_agent.errors import EdgeError, ModelError
from edge_agent.inference.describing import Description

MODEL_ENDINGS = (".onnx", ".tflite")
_LOCATION = re.compile(rb"\x0a\x08location\x12")


class ServedFiles:
    """Versions by digest and the active one of each model, in memory; bundles are unpacked below ``scratch``. Never writes elsewhere."""

    def __init__(self, scratch: Path, describe: Callable[[Path], Description]) -> None:
        self._scratch = scratch
        self._describe = describe
        self._versions: dict[str, tuple[Manifest, Path]] = {}
        self._active: dict[str, str] = {}
        self._files: dict[str, Path] = {}

    def add(self, path: Path, name: str = "") -> str:
        """Take the file as it is now; the model's name. Raises BundleError, ModelError."""
        if not path.is_file():
            raise ModelError(f"{path}: there is no such file")
        name = name or _own_name(path)
        if self._files.get(name, path) != path:
            raise ModelError(f"{path}: a model is called {name!r} already; give one of the two files another name")
        content = sha256_file(path)
        digest = self._version_of(name, content)
        if digest not in self._versions:
            folder = self._scratch / digest
            try:
                manifest = archive.unpack(path, folder) if path.suffix == archive.EXTENSION else self._bare(path, folder, content)
            except EdgeError:
                self.forget(digest)
                raise
            self._versions[digest] = (_renamed(manifest, name), folder)
        self._active[name], self._files[name] = digest, path
        return name

    def again(self, model: str) -> str:
        """Take the file of ``model`` as it is now; its digest. Raises EdgeError when there is no such model."""
        if model not in self._files:
            raise EdgeError(f"model {model}: no file of this name is served")
        self.add(self._files[model], model)
        return self._active[model]

    def put_back(self, model: str, digest: str) -> None:
        """``digest`` is what serves, not the version that :meth:`again` took in."""
        failed, self._active[model] = self._active[model], digest
        self.forget(failed)

    def forget(self, digest: str) -> None:
        """Remove the copy of a version that no model serves any more. Who has it open keeps it."""
        if digest not in self._active.values():
            self._versions.pop(digest, None)
            shutil.rmtree(self._scratch / digest, ignore_errors=True)

    def trusted(self, digest: str) -> bool:
        """Whether the version has golden inputs to be proven with."""
        return bool(self._versions[digest][0].golden)

    def active(self, model: str) -> str:
        return self._active.get(model, "")

    def manifest(self, digest: str) -> Manifest:
        return self._versions[digest][0]

    def folder(self, digest: str) -> Path:
        return self._versions[digest][1]

    def _version_of(self, name: str, content: str) -> str:
        """The digest of ``content`` as a version of ``name``: its own, unless another model has the same content."""
        known = self._versions.get(content)
        if known is None or known[0].name == name:
            return content
        return hashlib.sha256(f"{name} {content}".encode()).hexdigest()

    def _bare(self, path: Path, folder: Path, content: str) -> Manifest:
        if path.suffix.lower() not in MODEL_ENDINGS:
            endings = ", ".join((*MODEL_ENDINGS, archive.EXTENSION))
            raise ModelError(f"{path}: unknown kind of file; {endings} can be served (edge-convert build makes them of others)")
        model = _taken_in(path, folder)
        try:
            found = self._describe(model)
        except ModelError as error:
            raise ModelError(f"{path}: {str(error).removeprefix(f'{model}: ').removeprefix(f'{model.name}: ')}") from None
        entry = FileEntry(model.name, "model", model.stat().st_size, content)
        return Manifest(name_of(path), "1", RuntimeRequirement(found.runtime), (entry,), found.inputs, found.outputs)


def _taken_in(path: Path, folder: Path) -> Path:
    """A copy of the file and of the weights beside it that it names: what serves must not change when the user writes a newer one."""
    folder.mkdir(parents=True, exist_ok=True)
    data = path.read_bytes()
    model = folder / f"model{path.suffix.lower()}"
    model.write_bytes(data)
    for name in _weights_named(data) if path.suffix.lower() == ".onnx" else ():
        if (path.parent / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path.parent / name, folder / name)
    return model


def _weights_named(data: bytes) -> list[str]:
    """Files below its folder in which an ONNX model says that weights lie: each is the entry ``location`` of a tensor's external_data.

    Found by its bytes (onnx.proto, StringStringEntryProto: key, value), so that no reader of ONNX is needed. A name that leads out of the
    folder is left out, as ONNX Runtime does not follow it either.
    """
    found = set()
    for match in _LOCATION.finditer(data):
        size, at, shift = 0, match.end(), 0
        for at in range(match.end(), min(match.end() + 3, len(data))):  # a varint, the lowest seven bits first
            size |= (data[at] & 0x7F) << shift
            shift += 7
            if data[at] < 0x80:
                break
        found.add(data[at + 1 : at + 1 + size].decode("utf-8", "replace"))
    return sorted(name for name in found if name and not name.startswith("/") and ".." not in name.split("/") and "\0" not in name)


def _own_name(path: Path) -> str:
    """What the model in the file is called by itself. Raises BundleError."""
    return archive.read_manifest(path).name if path.suffix == archive.EXTENSION else name_of(path)


def name_of(path: Path) -> str:
    """A model name made of a file's: what may not stand in one becomes a dash."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:64]
    return name if valid_name(name) else "model"


def _renamed(manifest: Manifest, name: str) -> Manifest:
    return manifest if manifest.name == name else replace(manifest, name=name)
