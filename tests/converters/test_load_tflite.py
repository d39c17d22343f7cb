"""A float TensorFlow Lite file read as a network computes what LiteRT computes of the file, under the names people know."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flat_nets import IMAGE, OPERATORS, FlatNet, operator_file
from models import tiny_tflite
from operator_nets import FORMS

from converters.load import load_source
from converters.loaders.tflite import read_graph
from converters.loaders.tflite_readers import READERS
from converters.model import Graph, to_bytes
from converters.passes.run import run_passes
from converters.targets.tflite_float import emit_tflite_float
from edge_agent.runtimes.choose import load_model_file

ROOT = Path(__file__).parents[2]
ASSETS = Path(os.environ.get("EDGE_ASSETS_DIR", ROOT.parent / "shared" / "assets"))


def answers(path: Path, data: bytes, seed: int = 2) -> dict[str, Any]:
    """What a model file says to random inputs."""
    path.write_bytes(data)
    runtime = load_model_file(path)
    random = np.random.default_rng(seed)
    sizes = {spec.name: tuple(1 if size is None else size for size in spec.shape) for spec in runtime.inputs}
    return dict(runtime.run({spec.name: random.normal(0, 1, sizes[spec.name]).astype(spec.dtype) for spec in runtime.inputs}))


def assert_same(data: bytes, graph: Graph, folder: Path, share: float = 1e-5) -> None:
    """Names, order, shapes, types and numbers of a file and a graph."""
    wanted, given = answers(folder / "file.tflite", data), answers(folder / "graph.onnx", to_bytes(graph))
    assert list(wanted) == list(given)
    for name, array in wanted.items():
        assert given[name].dtype == array.dtype
        np.testing.assert_allclose(given[name], array, rtol=share, atol=share * max(1.0, float(np.abs(array).max())))


def read(data: bytes) -> Graph:
    graph, notes = read_graph(data)
    assert graph is not None, notes
    return graph


def transposes(graph: Graph) -> int:
    return sum(node.op_type == "Transpose" for node in graph.nodes)


@pytest.mark.parametrize("name", OPERATORS)
def test_each_operator_is_read_as_what_the_runtime_computes(name: str, tmp_path: Path) -> None:
    data = operator_file(name)
    graph = read(data)
    assert_same(data, graph, tmp_path)
    assert_same(data, run_passes(graph)[0], tmp_path)


@pytest.mark.parametrize("name", FORMS)
def test_whatever_is_written_can_be_read_again(name: str, tmp_path: Path) -> None:
    data = emit_tflite_float(run_passes(FORMS[name].graph())[0])
    assert_same(data, read(data), tmp_path, share=1e-4)


def test_no_transpose_is_left_between_the_layers_of_an_image_network(tmp_path: Path) -> None:
    n = FlatNet()
    x = n.input(*IMAGE)
    first = OPERATORS["conv"](n, x)
    padded = n.op("PAD", [first, n.constant([[0, 0], [0, 0], [0, 0], [2, 0]], "int32")], (1, 6, 5, 6), "PadOptions")
    joined = n.op("CONCATENATION", [padded, first], (1, 6, 5, 10), "ConcatenationOptions", axis=-1)
    scaled = n.op("MUL", [joined, n.weights(1, 1, 1, 10)], (1, 6, 5, 10), "MulOptions")
    options = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    second = n.op("CONV_2D", [scaled, n.weights(2, 3, 3, 10), n.weights(2)], (1, 6, 5, 2), "Conv2DOptions", **options)
    data = n.file(n.op("MEAN", [n.op("RELU", [second], (1, 6, 5, 2)), n.numbers(1, 2)], (1, 2), "ReducerOptions", keepDims=False))
    graph = read(data)
    after, _ = run_passes(graph)
    assert (transposes(graph), transposes(after)) == (4, 1)
    assert_same(data, after, tmp_path)
    assert_same(emit_tflite_float(after), after, tmp_path)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_weights_stored_small_become_floats(dtype: str, tmp_path: Path) -> None:
    n = FlatNet()
    x = n.input(2, 3)
    values = n.random.normal(0, 1, (4, 3)) if dtype == "float16" else n.random.integers(-127, 128, (4, 3))
    stored = n.constant(values, dtype, *([] if dtype == "float16" else [[0.1, 0.2, 0.05, 1.0], 0]))
    real = n.flat.tensor("real", (4, 3), "float32")
    n.flat.operator("DEQUANTIZE", [stored], real, "DequantizeOptions", version=3 if dtype == "float16" else 5)
    data = n.file(n.op("FULLY_CONNECTED", [x, real, -1], (2, 4), "FullyConnectedOptions"))
    graph = read(data)
    assert [node.op_type for node in graph.nodes] == ["Gemm"]
    assert_same(data, graph, tmp_path)


def test_names_order_and_types_of_several_inputs_and_outputs_stay(tmp_path: Path) -> None:
    n = FlatNet()
    ids, x = n.input(2, dtype="int32"), n.input(1, 2, 3)
    rows = n.op("GATHER", [n.weights(4, 3), ids], (2, 3), "GatherOptions")
    total = n.op("ADD", [rows, x], (1, 2, 3), "AddOptions")
    data = n.file(n.op("TANH", [total], (1, 2, 3)), rows, n.op("CAST", [total], (1, 2, 3), "CastOptions", "int32"))
    graph = read(data)
    assert [(spec.name, spec.dtype, spec.shape) for spec in graph.inputs] == [("in:0", "int32", (2,)), ("in:1", "float32", (1, 2, 3))]
    assert [spec.name for spec in graph.outputs] == ["out:0", "out:1", "out:2"]
    assert_same(data, graph, tmp_path)


def test_an_output_that_no_input_decides_is_still_given(tmp_path: Path) -> None:
    n = FlatNet()
    x = n.input(1, 3)
    shape = n.op("SHAPE", [x], (2,), "ShapeOptions", "int32", outType=2)
    data = n.file(n.op("NEG", [x], (1, 3), "NegOptions"), shape)
    assert_same(data, read(data), tmp_path)


def too_small(n: FlatNet, x: int) -> int:
    """The runtime works the size of the output out again; padding computed from what the file says would be another layer."""
    options = {"strideH": 4, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    return n.op("CONV_2D", [x, n.weights(4, 3, 3, 3), n.weights(4)], (1, 6, 5, 4), "Conv2DOptions", **options)


def custom(n: FlatNet, x: int) -> int:
    made = n.op("CUSTOM", [x], IMAGE)
    n.flat._code_tables[-1].customCode = "Mine"
    return made


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (custom, "operators CUSTOM Mine are not read"),
        (lambda n, x: n.op("CONV_2D", [x, n.weights(4, 3, 3, 2), n.weights(4)], IMAGE, "Conv2DOptions"), "do not fit its input"),
        (lambda n, x: n.op("TANH", [x], (1, 2, 2, 2)), "is said to be"),
        (lambda n, x: too_small(n, x), "not as large as its strides make it"),
        (lambda n, x: n.op("ADD", [x, x], IMAGE, "AddOptions", fusedActivationFunction=4), "fused activation 4 is not read"),
        (lambda n, x: n.op("TRANSPOSE", [x, x], IMAGE), "is not a constant|damaged"),
        (lambda n, x: n.op("DEQUANTIZE", [n.op("QUANTIZE", [x], IMAGE)], IMAGE), "quantized already"),
        (lambda n, x: n.op("ADD", [x, 70], IMAGE), "is no tensor"),
    ],
)
def test_what_is_not_read_says_why_and_is_passed_on_as_it_is(build: Any, why: str, tmp_path: Path) -> None:
    n = FlatNet()
    path = tmp_path / "m.tflite"
    path.write_bytes(n.file(build(n, n.input(*IMAGE))))
    source = load_source(path)
    assert source.graph is None and source.data == path.read_bytes()
    assert len(source.notes) == 1
    assert any(word in source.notes[0] for word in why.split("|")), source.notes


def test_a_quantized_file_stays_as_it_is_and_a_float_one_need_not(tmp_path: Path) -> None:
    assert load_source(tiny_tflite(tmp_path / "q.tflite", int8=True)).notes == ("packed as it is: it is quantized already",)
    source = load_source(tiny_tflite(tmp_path / "f.tflite", free_batch=True))
    assert source.graph is not None and source.format == "tflite"
    assert source.graph.inputs[0].shape == (1, 4)
    assert_same(source.data, source.graph, tmp_path)


def test_the_table_of_operators_is_sorted_and_complete() -> None:
    assert list(READERS) == sorted(READERS)
    assert {"CONV_2D", "FULLY_CONNECTED", "UNIDIRECTIONAL_SEQUENCE_LSTM", "STRIDED_SLICE", "RESIZE_BILINEAR"} <= set(READERS)


@pytest.mark.parametrize(
    "path",
    [
        "01_image_cifar10_resnet8/resnet8_float.tflite",
        "04_anomaly_toycar_autoencoder/ad01_fp32.tflite",
        "05_vibration_cwru_autoencoder/cwru_ae_f16.tflite",
        "06_har_exercise_cnn/har_exercise_cnn_f32.tflite",
        "08_detect_face_f16/face_detection_short_range.tflite",
        "11_audio_basicpitch_two_formats/nmp.tflite",
        "12_awkward_models/tflite/trained_lstm.tflite",
    ],
)
def test_published_files_are_read_as_what_they_compute(path: str, tmp_path: Path) -> None:
    if not (ASSETS / path).is_file():
        pytest.skip(f"{ASSETS / path} is not there; set EDGE_ASSETS_DIR")
    data = (ASSETS / path).read_bytes()
    graph = read(data)
    assert_same(data, run_passes(graph)[0], tmp_path, share=1e-5)
