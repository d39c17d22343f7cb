"""Both runtimes behind one port: real models, right answers, wrong inputs and damaged files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import INPUT_SCALE, OUTPUT_SCALE, OUTPUT_ZERO, tiny_answer, tiny_onnx, tiny_tflite

from edge_agent.errors import ModelError
from edge_agent.ports import Runtime
from edge_agent.runtimes.choose import load_model_file
from edge_agent.values import TensorSpec

X = np.array([[0.5, -1.0, 2.0, 0.25]], np.float32)


def make(kind: str, folder: Path, **options: Any) -> Path:
    return tiny_onnx(folder / "m.onnx", **options) if kind == "onnx" else tiny_tflite(folder / "m.tflite", **options)


@pytest.fixture(params=["onnx", "tflite"])
def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> Runtime:
    return load_model_file(make(request.param, tmp_path))


def test_answer_is_what_the_arithmetic_says(runtime: Runtime) -> None:
    answer = runtime.run({"x": X})
    assert list(answer) == ["y"] and answer["y"].dtype == np.float32
    assert np.allclose(answer["y"], tiny_answer(X), atol=1e-5)


def test_specs_are_the_models_own(runtime: Runtime) -> None:
    assert runtime.inputs == (TensorSpec("x", "float32", (1, 4)),)
    assert runtime.outputs == (TensorSpec("y", "float32", (1, 3)),)
    assert runtime.name and runtime.version[0].isdigit()


def test_answers_do_not_change_with_the_next_run(runtime: Runtime) -> None:
    first = runtime.run({"x": X})["y"]
    kept = first.copy()
    runtime.run({"x": X * 3})
    assert np.array_equal(first, kept)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "input x: missing, got nothing"),
        ({"z": X}, "input x: missing, got z"),
        ({"x": X.astype(np.float64)}, "input x: expected float32 (1, 4), got float64 (1, 4)"),
        ({"x": X[0]}, "input x: expected float32 (1, 4), got float32 (4)"),
        ({"x": X[:, :3]}, "got float32 (1, 3)"),
        ({"x": np.repeat(X, 2, axis=0)}, "got float32 (2, 4)"),
        ({"x": X.tolist()}, "input x: expected float32"),
        ({"x": X, "z": X}, "input z: the model has no such input; it has x"),
    ],
)
def test_wrong_inputs_are_named_and_the_model_still_runs(runtime: Runtime, arrays: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError) as caught:
        runtime.run(arrays)
    assert words in str(caught.value)
    assert np.allclose(runtime.run({"x": X})["y"], tiny_answer(X), atol=1e-5)


@pytest.mark.parametrize("options", [("onnx", {"batch": "n"}), ("tflite", {"free_batch": True})], ids=["onnx", "tflite"])
def test_free_batch_takes_any_size(tmp_path: Path, options: tuple[str, dict[str, Any]]) -> None:
    runtime = load_model_file(make(options[0], tmp_path, **options[1]))
    assert runtime.inputs[0].shape == (None, 4)
    for count in (1, 3, 1):
        x = np.repeat(X, count, axis=0) * np.arange(1, count + 1, dtype=np.float32)[:, None]
        assert np.allclose(runtime.run({"x": x})["y"], tiny_answer(x), atol=1e-5)


def test_int8_model_tells_its_scales(tmp_path: Path) -> None:
    runtime = load_model_file(tiny_tflite(tmp_path / "m.tflite", int8=True))
    assert runtime.inputs == (TensorSpec("x", "int8", (1, 4), INPUT_SCALE, 0),)
    assert runtime.outputs == (TensorSpec("y", "int8", (1, 3), OUTPUT_SCALE, OUTPUT_ZERO),)
    stored = np.rint(X / INPUT_SCALE).astype(np.int8)
    answer = (runtime.run({"x": stored})["y"].astype(np.float64) - OUTPUT_ZERO) * OUTPUT_SCALE
    assert np.allclose(answer, tiny_answer(X), atol=0.05)


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
@pytest.mark.parametrize("damage", ["empty", "text", "cut", "missing"])
def test_files_that_are_no_models_are_model_errors(tmp_path: Path, kind: str, damage: str) -> None:
    path = make(kind, tmp_path)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "text": b"not a model at all", "cut": path.read_bytes()[:40]}[damage])
    with pytest.raises(ModelError) as caught:
        load_model_file(path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_kind_of_file_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"m\.pt: unknown kind of model '.pt'; .onnx and .tflite can be loaded"):
        load_model_file(tmp_path / "m.pt")


def test_unknown_operator_is_named(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Teleport", ["x"], ["y"])], "g", tensors[:1], tensors[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(tmp_path / "m.onnx"))
    with pytest.raises(ModelError, match="Teleport"):
        load_model_file(tmp_path / "m.onnx")


def test_type_no_sensor_can_fill_is_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    tensors = [helper.make_tensor_value_info(name, TensorProto.STRING, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", tensors[:1], tensors[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(tmp_path / "m.onnx"))
    with pytest.raises(ModelError, match=r"tensor x has type tensor\(string\)"):
        load_model_file(tmp_path / "m.onnx")


def test_outputs_that_are_not_numbers_are_left_out(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y"))
    text = helper.make_tensor_value_info("t", TensorProto.STRING, [1])
    nodes = [helper.make_node("Cast", ["x"], ["t"], to=TensorProto.STRING), helper.make_node("Neg", ["x"], ["y"])]
    for name, outputs in (("both.onnx", [text, y]), ("text.onnx", [text])):
        graph = helper.make_graph(nodes[: len(outputs)], "g", [x], outputs)
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(tmp_path / name))
    runtime = load_model_file(tmp_path / "both.onnx")
    assert [spec.name for spec in runtime.outputs] == ["y"]
    assert runtime.run({"x": np.ones(1, np.float32)})["y"].tolist() == [-1]
    with pytest.raises(ModelError, match=r"no output of numbers, only t tensor\(string\)"):
        load_model_file(tmp_path / "text.onnx")


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_loading_and_failing_print_nothing(tmp_path: Path, kind: str) -> None:
    path = make(kind, tmp_path)
    broken = tmp_path / f"broken{path.suffix}"
    broken.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code = f"""
import sys, numpy as np
from pathlib import Path
from edge_agent.errors import ModelError
from edge_agent.runtimes.choose import load_model_file
try:
    load_model_file(Path({str(broken)!r}))
except ModelError:
    print("refused")
load_model_file(Path({str(path)!r})).run({{"x": np.zeros((1, 4), np.float32)}})
print("ran")
print("still here", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused", "ran"]
    assert done.stderr == "still here\n"
