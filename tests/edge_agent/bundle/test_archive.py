"""Bundles written, read and unpacked: the good ones, and what happens when the disk or the process fails."""

from __future__ import annotations

import errno
import os
import stat
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import entry_of, tiny_bundle, with_files

from edge_agent.bundle.archive import read_bundle, read_manifest, sha256_file, unpack, write_bundle
from edge_agent.bundle.manifest import MANIFEST_NAME, Manifest, RuntimeRequirement, Step, to_json
from edge_agent.errors import BundleError, StoreError, StoreFull
from edge_agent.values import TensorSpec


def names(folder: Path) -> list[str]:
    """What lies in ``folder``."""
    return sorted(path.name for path in folder.iterdir())


def big_bundle(path: Path, model: bytes) -> Manifest:
    """A bundle around any bytes; nobody will run them."""
    tensor = (TensorSpec("x", "float32", (1,)),)
    manifest = Manifest("big", "1", RuntimeRequirement("onnx"), (entry_of("model.onnx", "model", model),), tensor, tensor)
    write_bundle(path, manifest, {"model.onnx": model})
    return manifest


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "a.edgemodel")
    assert read_manifest(bundle.path) == bundle.manifest
    assert read_bundle(bundle.path) == (bundle.manifest, dict(bundle.files))
    assert sha256_file(bundle.path) == bundle.digest


def test_same_content_gives_same_bytes_whatever_the_order(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "a.edgemodel")
    backwards = dict(reversed(list(bundle.files.items())))
    assert write_bundle(tmp_path / "b.edgemodel", bundle.manifest, backwards) == bundle.digest


def test_any_zip_program_can_read_it(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "a.edgemodel")
    with zipfile.ZipFile(bundle.path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [MANIFEST_NAME, *sorted(bundle.files)]
        assert archive.read(MANIFEST_NAME) == to_json(bundle.manifest)
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("spoil", ["lacks", "differs", "extra"])
def test_writer_refuses_content_that_is_not_the_manifests(tmp_path: Path, spoil: str) -> None:
    bundle = tiny_bundle(tmp_path / "a.edgemodel")
    files = dict(bundle.files)
    if spoil == "lacks":
        del files["golden/0-x.bin"]
    elif spoil == "differs":
        files["golden/0-x.bin"] = bytes(len(files["golden/0-x.bin"]))
    else:
        files["notes.txt"] = b"hello"
    with pytest.raises(BundleError, match="notes.txt" if spoil == "extra" else "golden/0-x.bin"):
        write_bundle(bundle.path, bundle.manifest, files)
    assert sha256_file(bundle.path) == bundle.digest, "the old file must stand"
    assert names(tmp_path) == ["a.edgemodel"]


@pytest.mark.parametrize("value", [float("nan"), np.float32(1.5), (1, 2), {1, 2}, "\ud800"])
def test_writer_refuses_a_manifest_that_json_cannot_hold(tmp_path: Path, value: Any) -> None:
    bundle = tiny_bundle(tmp_path / "a.edgemodel")
    manifest = replace(bundle.manifest, postprocess=(Step("argmax", {"x": value}),))
    with pytest.raises(BundleError):
        write_bundle(tmp_path / "b.edgemodel", manifest, bundle.files)
    assert not (tmp_path / "b.edgemodel").exists()


def test_writer_refuses_names_its_reader_would_refuse(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "a.edgemodel")
    content = b"x"
    for pair in (("Report.json", "report.json"), ("report", "report/a")):
        manifest = replace(bundle.manifest, files=(*bundle.manifest.files, *(entry_of(name, "report", content) for name in pair)))
        with pytest.raises(BundleError, match="eport"):
            write_bundle(tmp_path / "b.edgemodel", manifest, {**bundle.files, **dict.fromkeys(pair, content)})
        assert names(tmp_path) == ["a.edgemodel"]


def test_unpacked_files_are_plain_and_not_executable(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "a.edgemodel")
    manifest = unpack(bundle.path, tmp_path / "deep" / "folder")
    assert manifest == bundle.manifest
    for name, content in {**bundle.files, MANIFEST_NAME: to_json(manifest)}.items():
        path = tmp_path / "deep" / "folder" / name
        assert path.read_bytes() == content
        mode = path.lstat().st_mode
        assert stat.S_ISREG(mode) and not mode & 0o133


def test_unpacking_again_leaves_a_complete_folder_alone(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "a.edgemodel")
    unpack(bundle.path, tmp_path / "f")
    before = (tmp_path / "f").stat().st_ino, (tmp_path / "f" / "model.onnx").stat().st_ino
    unpack(bundle.path, tmp_path / "f")
    assert ((tmp_path / "f").stat().st_ino, (tmp_path / "f" / "model.onnx").stat().st_ino) == before


@pytest.mark.parametrize("damage", ["flipped", "missing", "link", "manifest", "file instead", "leftover"])
def test_unpacking_replaces_what_is_damaged(tmp_path: Path, damage: str) -> None:
    bundle = tiny_bundle(tmp_path / "a.edgemodel")
    folder = tmp_path / "f"
    unpack(bundle.path, folder)
    model = folder / "model.onnx"
    if damage == "flipped":
        model.write_bytes(model.read_bytes()[:-1] + b"\x00")
    elif damage == "missing":
        model.unlink()
    elif damage == "link":
        model.rename(tmp_path / "elsewhere")
        model.symlink_to(tmp_path / "elsewhere")
    elif damage == "manifest":
        (folder / MANIFEST_NAME).write_text("{}")
    elif damage == "file instead":
        folder.rename(tmp_path / "g")
        folder.write_text("not a folder")
    else:
        folder.rename(tmp_path / ".tmp-f.unpacking")
    unpack(bundle.path, folder)
    assert model.read_bytes() == bundle.files["model.onnx"] and not model.is_symlink()
    assert not (tmp_path / ".tmp-f.unpacking").exists()


def test_damaged_model_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "a.edgemodel")
    content = bytearray(bundle.path.read_bytes())
    at = bytes(content).index(bundle.files["model.onnx"])
    content[at + 20] ^= 1
    bundle.path.write_bytes(content)
    with pytest.raises(BundleError, match=r"a\.edgemodel: model\.onnx is damaged"):
        unpack(bundle.path, tmp_path / "f")
    assert names(tmp_path) == ["a.edgemodel"]


def test_full_disk_is_store_full_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tiny_bundle(tmp_path / "a.edgemodel")
    for code, kind in ((errno.ENOSPC, StoreFull), (errno.EIO, StoreError)):

        def fail(_: int, code: int = code) -> None:
            raise OSError(code, os.strerror(code))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with pytest.raises(kind, match=os.strerror(code)):
                unpack(bundle.path, tmp_path / "f")
            with pytest.raises(kind, match=os.strerror(code)):
                write_bundle(tmp_path / "b.edgemodel", bundle.manifest, bundle.files)
        assert names(tmp_path) == ["a.edgemodel"]


class PowerLoss(BaseException):
    """Not an Exception: no handler of the product may catch it."""


def test_folder_is_absent_or_complete_whenever_the_power_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tiny_bundle(tmp_path / "a.edgemodel", cases=1)
    real_fsync, folder = os.fsync, tmp_path / "f"
    survived = 0
    for dies_at in range(1, 40):
        calls = 0

        def fsync(handle: int, dies_at: int = dies_at) -> None:
            nonlocal calls
            calls += 1
            if calls == dies_at:
                raise PowerLoss
            real_fsync(handle)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            patch.setattr("shutil.rmtree", lambda *args, **kwargs: None)  # the dead clean nothing up
            try:
                unpack(bundle.path, folder)
            except PowerLoss:
                survived += 1
                assert not folder.exists() or read_bundle(bundle.path)[1]["model.onnx"] == (folder / "model.onnx").read_bytes()
        unpack(bundle.path, folder)
        assert (folder / "model.onnx").read_bytes() == bundle.files["model.onnx"]
        for name in names(tmp_path):
            assert name in ("a.edgemodel", "f")
        if calls < dies_at:
            break
        _delete(folder)
    assert survived >= 6, "the loop must have cut power at several syncs"


def _delete(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def test_unpacking_a_large_model_takes_little_memory(tmp_path: Path) -> None:
    big_bundle(tmp_path / "a.edgemodel", bytes(24 << 20))
    tracemalloc.start()
    try:
        unpack(tmp_path / "a.edgemodel", tmp_path / "f")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 << 20


def test_what_is_not_a_file_is_a_bundle_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.edgemodel")
    for path in (tmp_path / "none.edgemodel", tmp_path / "pipe.edgemodel", Path("/dev/zero"), tmp_path):
        with pytest.raises(BundleError, match=path.name):
            read_manifest(path)


def test_manifest_and_content_can_be_remade_together(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "a.edgemodel")
    files = {**bundle.files, "model.onnx": b"other"}
    write_bundle(tmp_path / "b.edgemodel", with_files(bundle.manifest, files), files)
    assert read_bundle(tmp_path / "b.edgemodel")[1]["model.onnx"] == b"other"
