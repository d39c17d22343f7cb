"""Inputs, outputs and habits of models that are unlike those of an image classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny_nets import Net

import converters.inference
import converters.trying
from converters.__main__ import main
from converters.evaluate import Evaluation
from converters.gate import Limits, Weighed, judge
from converters.isolate import run_job
from edge_agent.bundle.archive import read_manifest, unpack
from edge_agent.bundle.golden import load_cases, within
from edge_agent.errors import ModelError
from edge_agent.runtimes.choose import load_runtime

OPSET = [helper.make_opsetid("", 17)]


@pytest.fixture(autouse=True)
def short_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converters.trying, "TIMING_S", 0.05)


def model(path: Path, nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any]) -> Path:
    """``inputs`` and ``outputs``: name to (element type, shape)."""
    told = [[helper.make_tensor_value_info(name, *spec) for name, spec in side.items()] for side in (inputs, outputs)]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", *told), opset_imports=OPSET, ir_version=8), str(path))
    return path


def build(source: Path, samples: dict[str, Any], *options: str) -> int:
    np.savez(source.with_suffix(".npz"), **samples)
    given = ["--profile", "generic-x86-64", "--samples", str(source.with_suffix(".npz")), "--name", "m", "--version", "1", "-q", "--force"]
    return main(["build", str(source), *given, "-o", str(source.with_suffix(".edgemodel")), *options])


def test_single_values_go_in_and_out(tmp_path: Path) -> None:
    nodes = [helper.make_node("Mul", ["x", "gain"], ["p"]), helper.make_node("ReduceSum", ["p"], ["y"], keepdims=0)]
    scalar = (TensorProto.FLOAT, [])
    source = model(tmp_path / "m.onnx", nodes, {"x": (TensorProto.FLOAT, [1, 6]), "gain": scalar}, {"y": scalar})
    random = np.random.default_rng(1)
    samples = {"x": random.normal(size=(20, 6)).astype(np.float32), "gain": np.full(20, 2.5, np.float32)}
    assert build(source, samples, "--target", "onnx") == 0
    manifest = unpack(tmp_path / "m.edgemodel", tmp_path / "u")
    runtime = load_runtime(manifest, tmp_path / "u")
    cases = load_cases(manifest, tmp_path / "u")
    assert cases[0].inputs["gain"].shape == ()
    assert all(within(case, runtime.run(case.inputs)) for case in cases)


def test_a_model_that_answers_the_same_question_differently_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [helper.make_node("RandomUniformLike", ["x"], ["r"]), helper.make_node("Add", ["x", "r"], ["y"])]
    spec = (TensorProto.FLOAT, [1, 6])
    source = model(tmp_path / "m.onnx", nodes, {"x": spec}, {"y": spec})
    assert build(source, {"x": np.ones((20, 6), np.float32)}, "--target", "onnx") == 2
    assert "m.onnx: answers the same question differently later" in capsys.readouterr().err


def test_the_refusal_of_an_onnx_file_says_how_to_pack_it_unchanged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    n = Net((1, 4))
    source = n.write(n.node("Erf", n.dense("x", 4, 3)), tmp_path / "m.onnx")
    samples = {"x": np.random.default_rng(1).normal(size=(40, 4)).astype(np.float32)}
    assert build(source, samples, "--target", "onnx", "--scheme", "int8", "--min-sqnr", "190") == 3
    assert "--scheme as-is packs the file unchanged" in capsys.readouterr().err
    assert build(source, samples, "--profile", "generic-armv7") == 3
    assert "--scheme as-is" not in capsys.readouterr().err  # that board runs no ONNX
    assert build(source, samples, "--scheme", "as-is") == 0
    assert read_manifest(tmp_path / "m.edgemodel").model_file.bytes == source.stat().st_size


def test_outputs_that_would_not_fit_in_memory_name_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converters.inference, "MAX_OUTPUT_BYTES", 100)
    kept = {"y": [np.zeros(5, np.float32)]}
    with pytest.raises(converters.inference.InputError, match="give --evaluation 5"):
        converters.inference.check_room(kept, 20)
    converters.inference.check_room(kept, 5)


def test_an_original_no_better_than_the_commonest_class_is_noted() -> None:
    limits = Limits(0.01, 25.0, 10.0)
    seen = Evaluation("top1", 100, 0.0, 200.0, True, True, original_accuracy=0.09, commonest=0.12, accuracy=0.09, drop=0.0)
    notes = judge(seen, limits, Weighed(1, 1)).notes
    assert "right on only 9.00 %" in notes[0]
    assert "12.00 %: check preprocessing, labels and their order" in notes[0]


def test_a_job_that_is_not_known_to_the_runtime_fails_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(64))
    with pytest.raises(ModelError, match=r"m\.tflite"):
        run_job(tmp_path, {"kind": "specs", "what": "m", "model": str(tmp_path / "m.tflite"), "state": None, "sizes": {}})
