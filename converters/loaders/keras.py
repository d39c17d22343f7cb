"""Keras (.keras, .h5) and TensorFlow (SavedModel folders), through their own framework in its tool environment."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from converters.errors import InputError
from converters.given import check_given
from converters.loaders.faithful import compared, keep_given
from converters.tools.drive import environment_for, run_tool
from converters.tools.scripts.keras_code import Refused, check
from converters.translate import Asked, Tell, Translated
from edge_agent.bundle.archive import sha256_file

MAX_BYTES = 4 << 30
MAX_CONFIG_BYTES = 64 << 20
MAX_FILES = 10_000
_HDF5 = b"\x89HDF\r\n\x1a\n"
SEED = 0


def translate_keras(asked: Asked, folder: Path, tell: Tell) -> Translated:
    """The ONNX file of a Keras file or a SavedModel folder. Raises :class:`InputError`.

    Code in the file (Lambda layers, and operators that run Python or touch files) is refused unless ``asked.trust``.
    """
    path = Path(asked.model)
    if path.is_dir():
        return _translate(asked, path, folder, tell, form="saved_model", sha256=_check_folder(path))
    check_given(path, max_bytes=MAX_BYTES)
    with path.open("rb") as file:
        head = file.read(8)
    if head == _HDF5:
        form = "h5"
    elif zipfile.is_zipfile(path):
        check_archive(path, trust=asked.trust)
        form = "keras"
    else:
        raise InputError(f"{path}: is no Keras model (neither a .keras archive nor an HDF5 file)")
    return _translate(asked, path, folder, tell, form=form, sha256=sha256_file(path))


def check_archive(path: Path, *, trust: bool) -> None:
    """Reads the configuration of a ``.keras`` archive as data. Raises :class:`InputError` for code without ``trust``, or a damaged file."""
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
            if total > MAX_BYTES:
                raise InputError(f"{path}: unpacks to {total} bytes; at most {MAX_BYTES} are taken in")
            with archive.open("config.json") as file:
                text = file.read(MAX_CONFIG_BYTES + 1)
        if len(text) > MAX_CONFIG_BYTES:
            raise InputError(f"{path}: its config.json has more than {MAX_CONFIG_BYTES} bytes")
        config: Any = json.loads(text)
        check(config, trust=trust)
    except KeyError:
        raise InputError(f"{path}: is no Keras model (it holds no config.json)") from None
    except Refused as refused:
        raise InputError(f"{path}: {refused}") from None
    except (zipfile.BadZipFile, OSError, ValueError, RecursionError, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError(f"{path}: is a damaged Keras file ({error})") from None


def _translate(asked: Asked, path: Path, folder: Path, tell: Tell, *, form: str, sha256: str) -> Translated:
    environment_for("keras", str(path), may_make=asked.make_tools, tell=tell)
    work = folder / "keras"
    work.mkdir()
    keep_given(asked.samples, work / "given.npz")
    script, name = ("tensorflow_to_onnx", "model") if form == "saved_model" else ("keras_to_onnx", f"model.{form}")
    job = {"what": str(path), "format": form, "trust": asked.trust, "seed": SEED}
    answer = run_tool("keras", script, job, {name: path}, work, make=asked.make_tools, tell=tell)
    tell("comparing the translation with the original")
    note = compared(work, str(path), answer.tree)
    origin = "TensorFlow SavedModel" if form == "saved_model" else "Keras"
    return Translated(work / "model.onnx", path, sha256, _bytes_of(path), origin, (note,))


def _check_folder(path: Path) -> str:
    """The hash over names and contents of every file in ``path``. Raises :class:`InputError` for what is no SavedModel of bounded size."""
    check_given(path / "saved_model.pb", max_bytes=(1 << 31) - 1)
    files = _files(path)
    if len(files) > MAX_FILES:
        raise InputError(f"{path}: holds {len(files)} files; this is no SavedModel")
    size = 0
    digest = hashlib.sha256()
    for file in files:
        check_given(file)
        size += file.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{path}: holds more than {MAX_BYTES} bytes")
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    return sorted(entry for entry in path.rglob("*") if not entry.is_dir())


def _bytes_of(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path)) if path.is_dir() else path.stat().st_size
