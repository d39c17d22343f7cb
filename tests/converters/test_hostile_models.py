"""Models that lie about themselves, on disk and inside: one clear error, no crash, no waiting, nothing read that was not given."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_nets import Net

from converters.__main__ import main
from converters.calibrate.ranges import Calibration, RangeTable
from converters.calibrate.reject import reject_outliers
from converters.errors import InputError
from converters.load import load_source
from converters.model import graph_of
from converters.passes.fold_constants import fold_constants
from converters.processing import read_processing


def plain() -> Any:
    n = Net((1, 4))
    return n.proto(n.dense("x", 4, 3))


def saved(proto: Any, path: Path) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


def kept_outside(location: str, *, in_attribute: bool = False) -> Any:
    """A model whose weights are said to be in ``location``."""
    proto = plain()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    if in_attribute:
        node = helper.make_node("Constant", [], [tensor.name], value=tensor)
        del proto.graph.initializer[0]
        proto.graph.node.insert(0, node)
    return proto


@pytest.mark.parametrize("in_attribute", [False, True])
@pytest.mark.parametrize("location", ["../../etc/passwd", "/etc/passwd", "link.bin", "", "."])
def test_weights_outside_the_models_folder_are_never_read(location: str, in_attribute: bool, tmp_path: Path) -> None:
    (tmp_path / "link.bin").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="outside its own folder"):
        load_source(saved(kept_outside(location, in_attribute=in_attribute), tmp_path / "m.onnx"))


def test_weights_of_a_constant_node_are_taken_in_too(tmp_path: Path) -> None:
    proto = kept_outside("w.bin", in_attribute=True)
    (tmp_path / "w.bin").write_bytes(np.ones((4, 3), np.float32).tobytes())
    graph = load_source(saved(proto, tmp_path / "m.onnx")).graph
    assert graph is not None
    assert not any(tensor.external_data for node in graph.nodes for tensor in (a.t for a in node.attribute))


def test_a_huge_file_a_pipe_and_a_device_are_refused_without_being_read(tmp_path: Path) -> None:
    for name in ("m.onnx", "weights.bin", "p.toml"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(40 << 30)
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(InputError, match=r"m\.onnx: has 42949672960 bytes"):
        load_source(tmp_path / "m.onnx")
    with pytest.raises(InputError, match="2 GiB"):
        load_source(saved(kept_outside("weights.bin"), tmp_path / "n.onnx"))
    for path in (tmp_path / "pipe.onnx", Path("/dev/zero")):
        with pytest.raises(InputError, match="not a regular file"):
            load_source(path)
    with pytest.raises(InputError, match=r"p\.toml: has 42949672960 bytes"):
        read_processing(tmp_path / "p.toml")


def text_input(proto: Any) -> None:
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING


def unknown_type(proto: Any) -> None:
    proto.graph.input[0].type.tensor_type.elem_type = 88


def shapeless_input(proto: Any) -> None:
    proto.graph.input[0].type.tensor_type.ClearField("shape")


def other_size(proto: Any) -> None:
    proto.graph.initializer[0].dims[0] = 77


def twin_outputs(proto: Any) -> None:
    proto.graph.output.append(proto.graph.output[0])


def twin_inputs(proto: Any) -> None:
    proto.graph.input.append(proto.graph.input[0])


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (twin_outputs, "two of its outputs are called"),
        (twin_inputs, "two of its inputs are called x"),
        (text_input, "input x is string; a device can feed float32"),
        (unknown_type, "input x is of no known type"),
        (shapeless_input, "input x has no shape; export the model with it declared"),
        (other_size, "not a valid ONNX model"),
    ],
)
def test_what_cannot_be_served_is_named(spoil: Callable[[Any], None], what: str, tmp_path: Path) -> None:
    proto = plain()
    spoil(proto)
    with pytest.raises(InputError, match=what):
        load_source(saved(proto, tmp_path / "m.onnx"))


def test_names_that_are_no_text_are_refused(tmp_path: Path) -> None:
    data = plain().SerializeToString()
    (tmp_path / "m.onnx").write_bytes(data.replace(b"Gemm", b"G\xff\xfem").replace(b"MatMul", b"Mat\xff\xfel"))
    with pytest.raises(InputError, match=r"not an ONNX model \("):
        load_source(tmp_path / "m.onnx")


def test_what_crashes_native_code_is_an_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """ONNX's shape inference (1.23) dies of a label encoder without attributes; whether it does or not, the answer is one sentence."""
    node = helper.make_node("LabelEncoder", ["x"], ["y"], domain="ai.onnx.ml")
    told = [helper.make_tensor_value_info("x", TensorProto.INT64, ["N"])], [helper.make_tensor_value_info("y", TensorProto.STRING, ["N"])]
    graph = helper.make_graph([node], "g", *told)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = saved(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    np.savez(tmp_path / "s.npz", x=np.zeros((20, 1), np.int64))
    options = ["--profile", "rpi4", "--samples", str(tmp_path / "s.npz"), "--name", "m", "--version", "1", "-q"]
    assert main(["build", str(model), *options, "-o", str(tmp_path / "m.edgemodel")]) == 2
    assert f"{model}" in capsys.readouterr().err
    assert not (tmp_path / "m.edgemodel").exists()


def test_eight_bytes_that_ask_for_a_tensor_of_any_size_are_not_computed() -> None:
    size = numpy_helper.from_array(np.array([1 << 20, 1 << 20], np.int64), "size")
    node = helper.make_node("ConstantOfShape", ["size"], ["big"])
    use = helper.make_node("Add", ["x", "big"], ["y"])
    told = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    proto = helper.make_model(helper.make_graph([node, use], "g", told[:1], told[1:], [size]), opset_imports=[helper.make_opsetid("", 17)])
    graph = graph_of(proto)
    assert fold_constants(graph) is graph


def test_no_float_tensor_at_all_leaves_nothing_to_reject(recwarn: pytest.WarningsRecorder) -> None:
    empty = np.empty((6, 0), np.float32)
    assert reject_outliers(RangeTable((), tuple(range(6)), empty, empty)) == Calibration({}, (), 6)
    assert not list(recwarn)


def judged(proto: Any, folder: Path, **arrays: Any) -> int:
    np.savez(folder / "s.npz", **arrays)
    command = ["build", str(saved(proto, folder / "m.onnx")), "--samples", str(folder / "s.npz"), "--profile", "generic-x86-64", "-q"]
    return main([*command, "--no-search", "--name", "m", "--version", "1", "-o", str(folder / "m.edgemodel")])


def test_an_output_that_is_an_input_is_served(tmp_path: Path) -> None:
    proto = plain()
    proto.graph.output.insert(0, proto.graph.input[0])
    assert judged(proto, tmp_path, x=np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)) == 0


def test_an_original_that_gives_no_numbers_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proto = plain()
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((3, 4), np.nan, np.float32), proto.graph.initializer[0].name))
    assert judged(proto, tmp_path, x=np.ones((40, 4), np.float32)) == 2
    assert "m.onnx: output t0 holds NaN or infinity on 20 of 20 samples, first on row" in capsys.readouterr().err


def test_targets_that_are_no_numbers_let_nothing_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(plain(), tmp_path, x=np.ones((40, 4), np.float32), targets=np.full((40, 3), np.nan)) == 2
    assert "targets: hold NaN or infinity" in capsys.readouterr().err


def test_a_refusal_of_the_runtime_names_the_file_and_no_folder_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proto = plain()
    proto.opset_import[0].version = 28
    assert judged(proto, tmp_path, x=np.ones((40, 4), np.float32)) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'm.onnx'}: onnxruntime" in said
    assert "edge-convert-" not in said and "onnxruntime_src" not in said and "Opset 28" in said
