"""MLflow models: the folder is found, and the file in it handed to whoever reads its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.errors import InputError
from converters.loaders.mlflow_store import model_folder, read_yaml
from converters.translate import TRANSLATORS, Asked, Tell, Translated
from edge_agent.bundle.archive import sha256_file

FLAVORS = ("onnx", "sklearn", "keras", "tensorflow", "pytorch")
"""In order of preference: what needs no framework first."""


def translate_mlflow(asked: Asked, folder: Path, tell: Tell) -> Translated:
    """The ONNX file of an MLflow model. Raises :class:`InputError` naming the model and what is missing."""
    home = model_folder(asked.model, folder, tell)
    if not (home / "MLmodel").is_file():
        raise InputError(f"{asked.model}: there is no MLmodel file in {home}")
    flavors = read_yaml(home / "MLmodel").get("flavors")
    if not isinstance(flavors, dict):
        raise InputError(f"{home / 'MLmodel'}: names no flavors")
    flavor = next((name for name in FLAVORS if isinstance(flavors.get(name), dict)), None)
    if flavor is None:
        known = ", ".join(name for name in flavors if name != "python_function") or "none"
        raise InputError(f"{asked.model}: its flavors ({known}) are not read here; log it with one of {', '.join(FLAVORS)}")
    file = _inside(home, asked.model, flavors[flavor], flavor)
    tell(f"{asked.model}: flavor {flavor}, {file.relative_to(home.resolve())}")
    if flavor == "onnx":
        size_bytes = file.stat().st_size
        return Translated(file, file, sha256_file(file), size_bytes, "MLflow (onnx)", ())
    kind = "keras" if flavor == "tensorflow" else flavor
    if kind not in TRANSLATORS:
        raise InputError(f"{asked.model}: flavor {flavor} is not read here")
    made = TRANSLATORS[kind](replace(asked, model=str(file)), folder, tell)
    return replace(made, origin=f"MLflow ({made.origin})")


def _inside(home: Path, model: str, held: Mapping[str, Any], flavor: str) -> Path:
    """The file or folder that a flavor names; never one outside the model."""
    key = {"onnx": "data", "sklearn": "pickled_model", "keras": "data", "tensorflow": "saved_model_dir", "pytorch": "model_data"}[flavor]
    named = held.get(key)
    if not isinstance(named, str) or not named:
        raise InputError(f"{home / 'MLmodel'}: flavor {flavor} does not say where its model is ({key})")
    root = home.resolve()
    found = (root / named.replace("\0", "?")).resolve()
    if found != root and root not in found.parents:
        raise InputError(f"{home / 'MLmodel'}: names {named!r}, outside its own folder; this is refused")
    found = _within(found, flavor)
    if not found.exists():
        raise InputError(f"{model}: its {flavor} model {named!r} is not there")
    return found


def _within(found: Path, flavor: str) -> Path:
    """MLflow names the folder it keeps a model's files in; the model is the file in it that this flavor writes."""
    if not found.is_dir() or flavor == "onnx":
        return found
    for name in ("model.keras", "model.h5", "model", "model.pt2", "model.pth"):
        if (found / name).exists():
            return found / name
    return found
