"""Where an MLflow name lies: a folder, ``models:/NAME/VERSION``, ``models:/NAME@ALIAS``, ``models:/m-ID`` or ``runs:/RUN/PATH``, on disk
or on the server that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from converters.errors import InputError
from converters.given import read_given
from converters.loaders.mlflow_rest import Server
from converters.loaders.mlflow_yaml import BadYaml, parse_yaml

MAX_YAML_BYTES = 4 << 20
_NAME = re.compile(r"[^/\\\0@:%]{1,250}")
_DEEP = 4
"""Places lead to places: a version names a model, which names a folder."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Raises :class:`InputError` for what is not read here, by its line."""
    try:
        return parse_yaml(read_given(path, max_bytes=MAX_YAML_BYTES).decode())
    except (BadYaml, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from None


def model_folder(model: str, folder: Path, tell: Callable[[str], None]) -> Path:
    """The folder with the model's MLmodel file; what is on a server is brought into ``folder``."""
    if not model.startswith(("models:/", "runs:/", "mlflow-artifacts:/")):
        return Path(unquote(urlsplit(model).path)) if model.startswith("file:") else Path(model)
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not address:
        raise InputError(f"{model}: MLFLOW_TRACKING_URI is not set; set it to the server or folder that knows this name")
    if address.startswith(("http://", "https://")):
        return _from_server(Server(address), model, folder, tell)
    scheme = urlsplit(address).scheme
    if scheme not in ("", "file"):
        raise InputError(f"MLFLOW_TRACKING_URI: {scheme} is not read here; give the address of the MLflow server, or the model's folder")
    store = Path(unquote(urlsplit(address).path)) if scheme else Path(address)
    if not store.is_dir():
        raise InputError(f"MLFLOW_TRACKING_URI: {store} is no folder")
    return _on_disk(store, model, _DEEP)


def _parts(model: str) -> tuple[str, ...]:
    """The names in a URI. Raises InputError for one that could lead elsewhere."""
    parts = tuple(part for part in model.partition(":")[2].split("/") if part)
    if not parts or any(part in ("..", ".") or not _NAME.fullmatch(part.replace("@", "")) for part in parts):
        raise InputError(f"{model}: give models:/NAME/VERSION, models:/NAME@ALIAS or runs:/RUN/PATH")
    return parts


def _on_disk(store: Path, model: str, deep: int) -> Path:
    """In a folder as ``mlflow`` keeps it: experiments with runs and models, and ``models`` with versions."""
    if model.startswith("file:"):
        return Path(unquote(urlsplit(model).path))
    if not model.startswith(("models:/", "runs:/")):
        if "://" in model or deep <= 0:
            raise InputError(f"{model}: is kept elsewhere; download it (mlflow artifacts download) and give the folder")
        return Path(model)
    parts = _parts(model)
    if model.startswith("runs:/"):
        return _run_on_disk(store, model, parts)
    if len(parts) == 1 and "@" not in parts[0]:
        return _one(store.glob(f"*/models/{parts[0]}/artifacts"), model, store)
    name, version = parts if len(parts) == 2 else (parts[0].partition("@")[0], _alias(store, model, parts[0]))
    meta = store / "models" / name / f"version-{version}" / "meta.yaml"
    if not meta.is_file():
        raise InputError(f"{model}: there is no version {version} of {name} in {store}")
    held = read_yaml(meta)
    return _on_disk(store, str(held.get("storage_location") or held.get("source") or ""), deep - 1)


def _alias(store: Path, model: str, part: str) -> str:
    name, _, alias = part.partition("@")
    path = store / "models" / name / "aliases" / alias
    if not path.is_file():
        raise InputError(f"{model}: {name} has no alias {alias!r} in {store}")
    return read_given(path, max_bytes=100).decode("utf-8", "replace").strip()


def _run_on_disk(store: Path, model: str, parts: tuple[str, ...]) -> Path:
    run = _one(store.glob(f"*/{parts[0]}"), model, store)
    inside = PurePosixPath(*parts[1:])
    if (run / "artifacts" / inside / "MLmodel").is_file():
        return run / "artifacts" / inside
    for output in sorted(run.glob("outputs/*")):
        made = run.parent / "models" / output.name
        if (made / "meta.yaml").is_file() and str(read_yaml(made / "meta.yaml").get("name")) == str(inside):
            return made / "artifacts"
    raise InputError(f"{model}: the run has no model called {inside}")


def _one(found: Iterator[Path], model: str, store: Path) -> Path:
    paths = sorted(found)
    if len(paths) != 1:
        raise InputError(f"{model}: {len(paths)} of that name are in {store}")
    return paths[0]


def _from_server(server: Server, model: str, folder: Path, tell: Callable[[str], None]) -> Path:
    root = _root_on_server(server, model, _DEEP)
    if root.startswith(("file:", "/")):
        return Path(unquote(urlsplit(root).path))
    if not root.startswith("mlflow-artifacts:"):
        raise InputError(f"{model}: is kept at {root[:120]}; download it (mlflow artifacts download) and give the folder")
    inside = PurePosixPath(unquote(urlsplit(root).path).lstrip("/"))
    if ".." in inside.parts:
        raise InputError(f"{model}: is kept at {root[:120]}, which is refused")
    target = folder / "mlflow"
    target.mkdir()
    tell(f"{model}: downloading from {server.address}")
    server.download(str(inside), target)
    return target


def _root_on_server(server: Server, model: str, deep: int) -> str:
    """The artifact URI that a name stands for."""
    if deep <= 0 or not model.startswith(("models:/", "runs:/")):
        return model
    parts = _parts(model)
    if model.startswith("runs:/"):
        return _run_on_server(server, model, parts)
    if len(parts) == 1 and "@" not in parts[0]:
        held = server.ask(f"/api/2.0/mlflow/logged-models/{parts[0]}")
        return _text(server, held, "model", "info", "artifact_uri")
    if len(parts) == 1:
        name, _, alias = parts[0].partition("@")
        held = server.ask("/api/2.0/mlflow/registered-models/alias", name=name, alias=alias)
        version = _text(server, held, "model_version", "version")
    else:
        name, version = parts[0], parts[-1]
    held = server.ask("/api/2.0/mlflow/model-versions/get-download-uri", name=name, version=version)
    return _root_on_server(server, _text(server, held, "artifact_uri"), deep - 1)


def _run_on_server(server: Server, model: str, parts: tuple[str, ...]) -> str:
    held = server.ask("/api/2.0/mlflow/runs/get", run_id=parts[0])
    inside = "/".join(parts[1:])
    outputs = held.get("run", {}).get("outputs", {}).get("model_outputs") or ()
    for output in outputs:
        made = server.ask(f"/api/2.0/mlflow/logged-models/{output.get('model_id')}")
        if _text(server, made, "model", "info", "name") == inside:
            return _text(server, made, "model", "info", "artifact_uri")
    return f"{_text(server, held, 'run', 'info', 'artifact_uri')}/{inside}"


def _text(server: Server, tree: Any, *keys: str) -> str:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    if not isinstance(tree, (str, int)):
        raise InputError(f"{server.address}: its answer has no {'.'.join(keys)}")
    return str(tree)
