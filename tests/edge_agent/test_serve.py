"""``edge-agent serve``: a file over HTTP with no configuration, as a real process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from models import tiny_bundle
from onnx import TensorProto, helper, load_model, save_model

from benchmarks.tiny_model import linear_graph
from edge_agent.addresses import Address, bad_address, parse_address
from edge_agent.inference.describing import Description
from edge_agent.served_files import ServedFiles, name_of

pytestmark = pytest.mark.timeout(60)
Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the command and waits for the address it prints."""
    running: list[subprocess.Popen[str]] = []

    def begin(*arguments: str | Path, models: int = 1, env: Mapping[str, str] | None = None) -> tuple[subprocess.Popen[str], str]:
        command = [str(Path(sys.executable).parent / "edge-agent"), "serve", *map(str, arguments), "--listen", "127.0.0.1:0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        running.append(process)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(models)]
        assert all(line.startswith("serving ") for line in lines), (lines, process.stderr.read() if process.stderr else "")
        return process, lines[0].split(" on ")[1].strip()

    yield begin
    for process in running:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        assert not psutil.wait_procs(family, timeout=5)[1]
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "my model.onnx"
    path.write_bytes(linear_graph().SerializeToString())
    return path


def ask(url: str, body: Any = None, method: str = "") -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, method=method or None), timeout=20) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def infer(url: str, name: str = "my-model") -> list[float]:
    inputs = [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]
    values: list[float] = ask(f"{url}/v2/models/{name}/infer", {"inputs": inputs})["outputs"][0]["data"]
    return values


@pytest.mark.parametrize("lane", ["isolated", "inline"])
def test_a_bare_model_file_is_served_under_its_name(start: Start, model: Path, lane: str) -> None:
    _, url = start(model, "--lane", lane)
    assert infer(url) == [10.0, 0.0, 0.0]
    assert ask(f"{url}/v1/models/my-model:predict", {"instances": [[1, 2, 3, 4]]}) == {"predictions": [[10.0, 0.0, 0.0]]}
    assert ask(f"{url}/predict", [1, 2, 3, 4])["scores"] == [10.0, 0.0, 0.0]
    assert model.read_bytes() == linear_graph().SerializeToString()


def test_a_bundle_is_served_with_its_steps_and_version(start: Start, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b.edgemodel", version="7")
    _, url = start(bundle.path, "--name", "line")
    assert ask(f"{url}/v2/models/line")["versions"] == ["7"]
    assert ask(f"{url}/predict", [0.5] * bundle.manifest.inputs[0].shape[-1])["label"] is not None


def test_a_model_with_several_free_dimensions_takes_tensors_of_any_size(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "any.onnx"
    sizes = ["n", 3, "h", "w"]
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])],
        "any",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, sizes)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    path.write_bytes(model.SerializeToString())
    _, url = start(path)
    for size in ([1, 3, 2, 5], [2, 3, 40, 30], [1, 3, 1, 1]):
        values = [1.0] * (size[0] * size[1] * size[2] * size[3])
        inputs = [{"name": "x", "shape": size, "datatype": "FP32", "data": values}]
        answer = ask(f"{url}/v2/models/any/infer", {"inputs": inputs})["outputs"][0]
        assert (answer["shape"], set(answer["data"])) == (size, {-1.0})


def test_several_files_are_served_together(start: Start, model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(linear_graph(2).SerializeToString())
    _, url = start(model, other, models=2)
    assert (infer(url), infer(url, "other")) == ([10.0, 0.0, 0.0], [0.0, 0.0, 10.0])


def test_the_same_model_may_be_served_under_two_names(start: Start, model: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin.onnx"
    twin.write_bytes(model.read_bytes())
    _, url = start(model, twin, models=2)
    assert infer(url) == infer(url, "twin") == [10.0, 0.0, 0.0]
    twin.write_bytes(linear_graph(1).SerializeToString())
    ask(f"{url}/v2/repository/models/twin/load", {})
    assert (infer(url), infer(url, "twin")) == ([10.0, 0.0, 0.0], [0.0, 10.0, 0.0])


def test_a_newer_file_is_served_after_load_and_a_broken_one_is_not(start: Start, model: Path) -> None:
    _, url = start(model)
    model.write_bytes(linear_graph(1).SerializeToString())
    assert infer(url) == [10.0, 0.0, 0.0], "what serves does not change by itself"
    ask(f"{url}/v2/repository/models/my-model/load", {})
    assert infer(url) == [0.0, 10.0, 0.0]
    model.write_bytes(b"no model at all")
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(f"{url}/v2/repository/models/my-model/load", {})
    assert "error" in json.loads(refused.value.read())
    assert infer(url) == [0.0, 10.0, 0.0]


def test_a_model_is_unloaded_and_loaded(start: Start, model: Path) -> None:
    _, url = start(model)
    ask(f"{url}/v2/repository/models/my-model/unload", {})
    with pytest.raises(urllib.error.HTTPError) as refused:
        infer(url)
    assert refused.value.code in (400, 404, 503)
    ask(f"{url}/v2/repository/models/my-model/load", {})
    assert infer(url) == [10.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "said", "status"),
    [
        (["absent.onnx"], "absent.onnx", 1),
        (["setup.py"], "unknown kind of file", 1),
        (["broken.onnx"], "broken.onnx", 1),
        (["good.onnx", "--listen", "0.0.0.0:80"], "only this machine's own addresses", 2),
        (["good.onnx", "good2.onnx", "--name", "x"], "--name", 2),
        (["good.onnx", "--workers", "100000"], "--workers: at most 64", 2),
        (["good.onnx", "--token-file", "token"], "chmod 600", 1),
    ],
)
def test_what_cannot_be_served_is_one_clear_error(tmp_path: Path, arguments: list[str], said: str, status: int) -> None:
    for name in ("good.onnx", "good2.onnx"):
        (tmp_path / name).write_bytes(linear_graph().SerializeToString())
    (tmp_path / "setup.py").write_text("")
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x07broken")
    (tmp_path / "token").write_text("0123456789abcdef")
    (tmp_path / "token").chmod(0o644)
    listen = [] if "--listen" in arguments else ["--listen", "127.0.0.1:0"]
    command = [str(Path(sys.executable).parent / "edge-agent"), "serve", *arguments, *listen]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr and "Traceback" not in done.stderr


def test_an_address_that_is_taken_is_named(start: Start, model: Path) -> None:
    _, url = start(model)
    command = [str(Path(sys.executable).parent / "edge-agent"), "serve", str(model), "--listen", url.removeprefix("http://")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1 and "cannot listen here" in done.stderr


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix", Address(path="/run/api.sock")),
        ("unix:/tmp/a", Address(path="/tmp/a")),
        ("/tmp/a", Address(path="/tmp/a")),
        ("127.0.0.1:80", Address(host="127.0.0.1", port=80)),
        ("[::1]:0", Address(host="::1", port=0)),
        ("localhost:8500", Address(host="localhost", port=8500)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text, default_path="/run/api.sock") == address


@pytest.mark.parametrize("text", ["", "8500", "0.0.0.0:1", "example.org:80", "127.0.0.1:", "127.0.0.1:99999", "unix:", "127.0.0.1.evil:80"])
def test_bad_addresses(text: str) -> None:
    assert bad_address(text)


@pytest.mark.parametrize(("file", "name"), [("a b.onnx", "a-b"), ("ü.tflite", "model"), ("x.edgemodel", "x"), ("..onnx", "model")])
def test_names_of_files(file: str, name: str) -> None:
    assert name_of(Path(file)) == name


@pytest.mark.parametrize("word", [signal.SIGHUP, signal.SIGINT])
def test_a_closed_terminal_ends_it_and_leaves_nothing_behind(start: Start, model: Path, word: signal.Signals, tmp_path: Path) -> None:
    process, _ = start(model, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert list(tmp_path.glob("edge-serve-*"))
    process.send_signal(word)
    assert process.wait(15) == 0
    assert not list(tmp_path.glob("edge-serve-*"))


def test_a_newer_file_that_does_not_serve_stays_refused_and_replaced_ones_leave_no_copy(start: Start, model: Path, tmp_path: Path) -> None:
    _, url = start(model, env={**os.environ, "TMPDIR": str(tmp_path)})
    for column in (1, 2, 1, 0):
        model.write_bytes(linear_graph(column).SerializeToString())
        ask(f"{url}/v2/repository/models/my-model/load", {})
    assert len(list(tmp_path.glob("edge-serve-*/*"))) == 1
    for content in (b"no model at all", nine_dimensions(), nine_dimensions()):
        model.write_bytes(content)
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(f"{url}/v2/repository/models/my-model/load", {})
        assert ("dimensions" if len(content) > 20 else "refuses it") in json.loads(refused.value.read())["error"]
        assert infer(url) == [10.0, 0.0, 0.0]
    assert len(list(tmp_path.glob("edge-serve-*/*"))) == 1


def nine_dimensions() -> bytes:
    """A model that can be read but not linked to."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1] * 9) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", ends[:1], ends[1:])
    data: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    return data


def test_weights_beside_the_model_are_taken_along_and_nothing_else(tmp_path: Path) -> None:
    graph = linear_graph()
    (tmp_path / "parts").mkdir()
    (tmp_path / "x").write_bytes(b"a file that is called like a tensor")
    save_model(graph, tmp_path / "parts" / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    model = load_model(tmp_path / "parts" / "m.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        next(entry for entry in tensor.external_data if entry.key == "location").value = "parts/w.bin"
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    files = ServedFiles(scratch, lambda path: Description("onnx", (), ()))
    files.add(tmp_path / "m.onnx")
    taken = {str(path.relative_to(next(scratch.iterdir()))) for path in scratch.rglob("*") if path.is_file()}
    assert taken == {"model.onnx", "parts/w.bin"}
