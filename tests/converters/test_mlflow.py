"""MLflow names lead to the file in them: folders, stores on disk, and a server that speaks its REST API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_nets import Net

from converters.errors import InputError
from converters.loaders.mlflow import translate_mlflow
from converters.loaders.mlflow_yaml import BadYaml, parse_yaml
from converters.translate import Asked

MLMODEL = """artifact_path: model
flavors:
  onnx:
    code: null
    data: model.onnx
    onnx_version: 1.17.0
    providers:
    - CUDAExecutionProvider
    - CPUExecutionProvider
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.onnx
mlflow_version: 3.1.0
saved_input_example_info: null
signature:
  inputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1,
    4]}}]'
  outputs: "[{\\"type\\": \\"tensor\\"}]"
utc_time_created: '2026-01-02 03:04:05.000001'
"""


def model_at(folder: Path, mlmodel: str = MLMODEL) -> Path:
    folder.mkdir(parents=True)
    (folder / "MLmodel").write_text(mlmodel)
    n = Net((1, 12))
    n.write(n.dense("x", 12, 5), folder / "model.onnx")
    return folder


def translated(model: str, tmp_path: Path, **asked: Any) -> Any:
    (tmp_path / "work").mkdir(exist_ok=True)
    return translate_mlflow(Asked(model, **asked), tmp_path / "work", lambda text: None)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As ``mlflow`` leaves it: one run with a logged model, registered as version 1 and called champion."""
    root = tmp_path / "mlruns"
    model_at(root / "0" / "models" / "m-1" / "artifacts")
    (root / "0" / "models" / "m-1" / "meta.yaml").write_text("model_id: m-1\nname: model\n")
    (root / "0" / "run1" / "outputs" / "m-1").mkdir(parents=True)
    version = root / "models" / "net" / "version-1"
    version.mkdir(parents=True)
    (version / "meta.yaml").write_text("name: net\nsource: models:/m-1\nversion: 1\n")
    (root / "models" / "net" / "aliases").mkdir()
    (root / "models" / "net" / "aliases" / "champion").write_text("1")
    model_at(root / "0" / "run2" / "artifacts" / "old")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", root.as_uri())
    return root


def test_a_folder_with_an_onnx_model(tmp_path: Path) -> None:
    folder = model_at(tmp_path / "m")
    for name in (str(folder), folder.as_uri()):
        made = translated(name, tmp_path)
        assert (made.file, made.origin) == (folder / "model.onnx", "MLflow (onnx)")


@pytest.mark.parametrize("name", ["models:/net/1", "models:/net@champion", "models:/m-1", "runs:/run1/model", "runs:/run2/old"])
def test_names_in_a_store_on_disk(name: str, store: Path, tmp_path: Path) -> None:
    assert translated(name, tmp_path).file.is_relative_to(store / "0")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("models:/net/2", "no version 2"),
        ("models:/net@other", "no alias 'other'"),
        ("runs:/run1/other", "no model called other"),
        ("runs:/nobody/model", "0 of that name"),
        ("models:/../../etc", "give models:/NAME/VERSION"),
    ],
)
def test_names_that_nobody_knows(name: str, why: str, store: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why):
        translated(name, tmp_path)


def test_a_name_needs_to_be_told_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match="MLFLOW_TRACKING_URI is not set"):
        translated("models:/net/1", tmp_path)


@pytest.mark.parametrize(
    ("mlmodel", "why"),
    [
        ("flavors:\n  onnx:\n    data: ../secret.onnx\n", "outside its own folder"),
        ("flavors:\n  onnx:\n    code: null\n", r"does not say where its model is \(data\)"),
        ("flavors:\n  spacy:\n    data: x\n", r"flavors \(spacy\) are not read here"),
        ("flavors:\n  onnx: &anchor\n", "line 2: .*not read here"),
        ("flavors:\n  onnx:\n    data: gone.onnx\n", "'gone.onnx' is not there"),
    ],
)
def test_what_is_wrong_with_an_mlmodel_file(mlmodel: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why):
        translated(str(model_at(tmp_path / "m", mlmodel)), tmp_path)


def test_a_pickle_inside_still_needs_trust(tmp_path: Path) -> None:
    folder = model_at(tmp_path / "m", "flavors:\n  sklearn:\n    pickled_model: model.pkl\n    sklearn_version: 1.5.0\n")
    (folder / "model.pkl").write_bytes(b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94.")
    with pytest.raises(InputError, match=r"is a pickle.*code of os.*--trust"):
        translated(str(folder), tmp_path)


class FakeMlflow(BaseHTTPRequestHandler):
    """A tracking server with one model; counts what it was asked."""

    root: ClassVar[Path]
    paths: ClassVar[list[str]]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.paths.append(parts.path)
        files = "/api/2.0/mlflow-artifacts/artifacts"
        if self.headers.get("Authorization") != "Bearer open":
            self._say(401, b"{}")
        elif parts.path.endswith("/model-versions/get-download-uri") and query == {"name": "net", "version": "1"}:
            self._json({"artifact_uri": "models:/m-1"})
        elif parts.path.endswith("/logged-models/m-1"):
            self._json({"model": {"info": {"name": "model", "artifact_uri": "mlflow-artifacts:/0/models/m-1/artifacts"}}})
        elif parts.path == files:
            held = self.root / query["path"]
            self._json({"files": [{"path": entry.name, "is_dir": entry.is_dir()} for entry in sorted(held.iterdir())]})
        elif parts.path.startswith(f"{files}/"):
            self._say(200, (self.root / parts.path.removeprefix(f"{files}/")).read_bytes())
        elif parts.path.endswith("/runs/get") and query == {"run_id": "evil"}:
            self._json({"run": {"info": {"artifact_uri": "mlflow-artifacts:/../../etc"}}})
        else:
            self._say(404, b'{"message": "nobody knows"}')

    def _json(self, tree: Any) -> None:
        self._say(200, json.dumps(tree).encode())

    def _say(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Tests are quiet."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeMlflow]]:
    handler = type("Handler", (FakeMlflow,), {"root": tmp_path / "served", "paths": []})
    folder = model_at(tmp_path / "served" / "0" / "models" / "m-1" / "artifacts")
    (folder / "more").mkdir()
    (folder / "more" / "notes.txt").write_text("inside")
    web = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=web.serve_forever)
    thread.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{web.server_port}/")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "open")
    yield handler
    web.shutdown()
    thread.join()
    web.server_close()


def test_a_registered_model_comes_from_the_server(server: type[FakeMlflow], tmp_path: Path) -> None:
    made = translated("models:/net/1", tmp_path)
    assert made.file.read_bytes() == (server.root / "0/models/m-1/artifacts/model.onnx").read_bytes()
    assert (tmp_path / "work/mlflow/more/notes.txt").read_text() == "inside"


@pytest.mark.parametrize(("name", "why"), [("models:/net/7", r"answers 404 .*nobody knows"), ("runs:/evil/model", "refused")])
def test_a_server_that_does_not_know_or_leads_elsewhere(name: str, why: str, server: type[FakeMlflow], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why):
        translated(name, tmp_path)


def test_a_server_that_cannot_be_reached_or_wants_a_password(
    server: type[FakeMlflow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    with pytest.raises(InputError, match="answers 401"):
        translated("models:/net/1", tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="cannot be reached"):
        translated("models:/net/1", tmp_path)


def test_mlflows_yaml_is_read() -> None:
    tree = parse_yaml(MLMODEL)
    assert tree["flavors"]["onnx"]["providers"] == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert tree["flavors"]["onnx"]["code"] is None
    assert json.loads(tree["signature"]["inputs"])[0]["tensor-spec"]["shape"] == [-1, 4]
    assert json.loads(tree["signature"]["outputs"]) == [{"type": "tensor"}]
    assert parse_yaml("a:\n- b: 1\n  c: 2\n- d\ne: {}\n") == {"a": [{"b": "1", "c": "2"}, "d"], "e": {}}


@given(st.text(st.sampled_from("ab:- \n'\"#{}|&x0"), max_size=60))
def test_any_text_is_read_or_refused_by_its_line(text: str) -> None:
    try:
        parse_yaml(text)
    except BadYaml as error:
        assert str(error).startswith("line ")
