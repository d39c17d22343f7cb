"""From what the user named to a source: told by content and place, translated where it is neither ONNX nor TensorFlow Lite."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from converters.errors import InputError
from converters.given import read_head
from converters.load import load_source
from converters.loaders.tflite import IDENTIFIER
from converters.model import Source
from converters.translate import TRANSLATORS, Asked, Tell, Translated
from converters.workshop import Workshop

_CODE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_URI = ("models:/", "runs:/", "mlflow-artifacts:/")
_BY_ENDING = {
    **dict.fromkeys((".keras", ".h5", ".hdf5"), "keras"),
    **dict.fromkeys((".pt", ".pth", ".pt2", ".torchscript"), "pytorch"),
    **dict.fromkeys((".joblib", ".pkl", ".pickle", ".skops"), "sklearn"),
    ".pmml": "pmml",
}
_HEAD = 4096


def open_source(asked: Asked, workshop: Workshop, folder: Path, tell: Tell, *, passes: bool) -> Source:
    """The model, vetted in a child before its native parsers run here. Raises :class:`InputError` naming it and what is wrong."""
    kind = kind_of(asked.model)
    if not kind:
        for option, said in (("--input", asked.inputs), ("--weights", asked.weights)):
            if said:
                raise InputError(f"{option}: {asked.model} says that itself; leave it out")
        return _vetted(Path(asked.model), workshop, passes=passes)
    translator = TRANSLATORS.get(kind)
    if translator is None:
        raise InputError(f"{asked.model}: {kind} models are not read here; export it as ONNX")
    work = folder / "translation"
    work.mkdir()
    made = translator(asked, work, tell)
    return _named(made, workshop, passes=passes)


def _vetted(path: Path, workshop: Workshop, *, passes: bool) -> Source:
    """A TensorFlow Lite file whose network cannot be worked on is still a file that can be packed."""
    try:
        workshop.vet(path, passes=passes)
    except InputError as error:
        if not passes or read_head(path, 8)[4:] != IDENTIFIER:
            raise
        workshop.vet(path, passes=False)
        why = str(error).removeprefix(f"{path}: ")
        return replace(load_source(path), graph=None, notes=(f"packed as it is: {why}",))
    return load_source(path)


def kind_of(model: str) -> str:
    """Which translator reads ``model``; empty for ONNX and TensorFlow Lite, and for what is left to their loaders to refuse."""
    path = Path(model)
    if model.startswith(_URI):
        return "mlflow"
    if path.is_dir():
        return "mlflow" if (path / "MLmodel").is_file() else "keras" if (path / "saved_model.pb").is_file() else ""
    if not path.exists() and _CODE.fullmatch(model):
        return "pytorch"
    kind = _BY_ENDING.get(path.suffix.lower(), "")
    return kind or ("pmml" if _is_pmml(path) else "")


def _named(made: Translated, workshop: Workshop, *, passes: bool) -> Source:
    """The translation as a source of the user's own file."""
    try:
        workshop.vet(made.file, passes=passes)
        source = load_source(made.file)
    except InputError as error:
        raise InputError(
            f"{made.path}: translated from {made.origin}, but {str(error).replace(str(made.file), 'the translation')}"
        ) from None
    return replace(source, path=made.path, sha256=made.sha256, bytes=made.bytes, origin=made.origin, notes=made.notes)


def _is_pmml(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and b"<PMML" in head
