"""Weights beside the model, from the converter to a runtime: the same network, the same bytes every time, proven as it is packed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import converters.trying
from converters.__main__ import main
from converters.errors import InputError
from converters.placing import ALIGNMENT, AUTO_BYTES, MIN_TENSOR_BYTES, WEIGHTS_NAME, placed
from converters.recipe import Recipe
from edge_agent.bundle.archive import read_bundle, unpack
from edge_agent.bundle.golden import load_cases, within
from edge_agent.bundle.onnx_outside import outside_tensors
from edge_agent.runtimes.choose import load_model_file, load_runtime
from edge_agent.runtimes.options import RuntimeOptions

DEEP = 600


@pytest.fixture(autouse=True)
def short_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converters.trying, "TIMING_S", 0.05)


def network(arrays: dict[str, Any], *, typed: bool = False) -> bytes:
    """x through a matrix product for each array, in order; ``typed``: numbers instead of bytes."""
    nodes, value = [], "x"
    for name in arrays:
        nodes.append(helper.make_node("MatMul", [value, name], [f"{name}_out"]))
        value = f"{name}_out"
    constants = [
        helper.make_tensor(name, TensorProto.FLOAT, a.shape, a.ravel().tolist()) if typed else numpy_helper.from_array(a, name)
        for name, a in arrays.items()
    ]
    rows, columns = next(iter(arrays.values())).shape[0], list(arrays.values())[-1].shape[1]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, s]) for n, s in (("x", rows), (value, columns))]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString(deterministic=True))


def layers(seed: int = 0) -> dict[str, Any]:
    """1.4 MB and 11 kB of weights."""
    draw = np.random.default_rng(seed)
    return {
        "a": (draw.standard_normal((DEEP, DEEP)) / np.sqrt(DEEP)).astype(np.float32),
        "b": (draw.standard_normal((DEEP, 5)) / np.sqrt(DEEP)).astype(np.float32),
    }


@pytest.mark.parametrize("typed", [False, True])
def test_large_tensors_go_out_at_multiples_of_a_page_and_small_ones_stay(typed: bool) -> None:
    draw = np.random.default_rng(3)
    arrays = {
        "a": draw.standard_normal((100, 101)).astype(np.float32),
        "b": draw.standard_normal((101, 20)).astype(np.float32),
        "c": draw.standard_normal((20, 3001)).astype(np.float32),
    }
    files = placed(network(arrays, typed=typed), "onnx", "beside")
    found = {tensor.tensor: tensor for tensor in outside_tensors(memoryview(files.model))}
    assert set(found) == {name for name, array in arrays.items() if array.nbytes >= MIN_TENSOR_BYTES} == {"a", "c"}
    weights = files.beside[WEIGHTS_NAME]
    for name, tensor in found.items():
        assert tensor.location == WEIGHTS_NAME
        assert tensor.offset % ALIGNMENT == 0
        assert weights[tensor.offset : tensor.offset + tensor.length] == arrays[name].tobytes()
    assert files.bytes == len(files.model) + len(weights)
    assert files.bytes_beside == len(weights)


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=6), seed=st.integers(0, 9))
def test_nothing_is_lost_on_the_way_and_bytes_repeat(sizes: list[int], seed: int) -> None:
    draw = np.random.default_rng(seed)
    arrays = {f"t{i}": draw.standard_normal((size, 4)).astype(np.float32) for i, size in enumerate(sizes)}
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    data = helper.make_model(helper.make_graph([], "g", [], [], constants)).SerializeToString(deterministic=True)
    files, again = placed(data, "onnx", "beside"), placed(data, "onnx", "beside")
    assert (files.model, dict(files.beside)) == (again.model, dict(again.beside))
    found = {tensor.tensor: tensor for tensor in outside_tensors(memoryview(files.model))}
    inside = {t.name: t.raw_data for t in onnx.ModelProto.FromString(files.model).graph.initializer}
    ends = 0
    for name, array in arrays.items():
        tensor = found.get(name)
        if tensor is None:
            assert inside[name] == array.tobytes()
            continue
        assert tensor.offset >= ends  # no two share a byte
        ends = tensor.offset + tensor.length
        assert files.beside[WEIGHTS_NAME][tensor.offset : ends] == array.tobytes()
    assert ends == files.bytes_beside


def test_auto_divides_from_a_mebibyte_on_and_only_onnx_files() -> None:
    large = network(layers())
    small = network({"a": np.zeros((DEEP, 200), np.float32)})
    assert len(small) < AUTO_BYTES < len(large)
    assert placed(large, "onnx", "auto").bytes_beside > AUTO_BYTES
    assert placed(small, "onnx", "auto").model == small
    assert placed(small, "onnx", "beside").bytes_beside == DEEP * 200 * 4
    assert placed(large, "onnx", "inside").model == large
    assert placed(large, "tflite", "beside").model == large


def test_many_small_tensors_are_not_worth_a_second_file() -> None:
    many = {f"t{i}": np.zeros((60, 60), np.float32) for i in range(100)}
    assert sum(array.nbytes for array in many.values()) > AUTO_BYTES
    assert not placed(network(many), "onnx", "auto").beside


@pytest.mark.parametrize("prepack", [True, False])
def test_a_divided_model_answers_as_the_whole_one(tmp_path: Path, prepack: bool) -> None:
    data = network(layers())
    (tmp_path / "whole.onnx").write_bytes(data)
    placed(data, "onnx", "auto").write(tmp_path / "divided.onnx")
    x = np.random.default_rng(1).standard_normal((1, DEEP)).astype(np.float32)
    options = RuntimeOptions(prepack=prepack)
    whole, divided = (load_model_file(tmp_path / f"{n}.onnx", options=options).run({"x": x}) for n in ("whole", "divided"))
    assert np.array_equal(whole["b_out"], divided["b_out"])


@pytest.fixture(scope="module")
def given_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A network of 1.4 MB and samples for it."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "net.onnx").write_bytes(network(layers()))
    np.savez(folder / "samples.npz", x=np.random.default_rng(5).standard_normal((60, DEEP)).astype(np.float32))
    return folder / "net.onnx", folder / "samples.npz"


def built(given_model: tuple[Path, Path], out: Path, *options: str) -> Path:
    model, samples = given_model
    common = ["--profile", "rpi4", "--name", "net", "--version", "1", "--quiet", "--unproven", "--target", "onnx"]
    assert main(["build", str(model), *common, "--samples", str(samples), "--scheme", "as-is", "-o", str(out), *options]) == 0
    return out


def test_a_build_packs_them_beside_and_says_so(given_model: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = built(given_model, tmp_path / "net.edgemodel", "--json")
    tree = json.loads(capsys.readouterr().out)
    manifest = unpack(out, tmp_path / "unpacked")
    (weights,) = manifest.weights_files
    (tried,) = tree["candidates"]
    assert manifest.format == 3
    assert tried["bytes"] == manifest.model_bytes == manifest.quality["model_bytes"]
    assert tried["bytes_beside"] == weights.bytes == manifest.quality["bytes_beside"]
    assert "of it weights beside the model" in (tmp_path / "unpacked" / "report.html").read_text()
    runtime = load_runtime(manifest, tmp_path / "unpacked", options=RuntimeOptions(prepack=False))
    assert all(within(case, runtime.run(dict(case.inputs))) for case in load_cases(manifest, tmp_path / "unpacked"))
    assert main(["inspect", str(out)]) == 0
    assert f"model.weights, {weights.bytes} bytes, beside the model" in capsys.readouterr().out
    again = built(given_model, tmp_path / "again.edgemodel")
    assert again.read_bytes() == out.read_bytes()


def test_a_build_keeps_them_inside_where_asked(given_model: tuple[Path, Path], tmp_path: Path) -> None:
    manifest, files = read_bundle(built(given_model, tmp_path / "net.edgemodel", "--pack-weights", "inside"))
    assert manifest.format == 1
    assert manifest.weights_files == ()
    assert files["model.onnx"] == given_model[0].read_bytes()


def test_bundles_with_weights_beside_are_evaluated_and_compared(
    given_model: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beside, inside = built(given_model, tmp_path / "b.edgemodel"), built(given_model, tmp_path / "i.edgemodel", "--pack-weights", "inside")
    capsys.readouterr()
    assert main(["evaluate", str(beside), "--samples", str(given_model[1]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == read_bundle(beside)[0].model_bytes
    assert main(["compare", str(inside), str(beside), "--samples", str(given_model[1]), "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["size_ratio"] == pytest.approx(read_bundle(beside)[0].model_bytes / read_bundle(inside)[0].model_bytes)


def test_another_word_is_refused() -> None:
    with pytest.raises(InputError, match="pack-weights: 'outside' is not one of auto, inside, beside"):
        Recipe("m", "1", ("rpi4",), weights="outside")
