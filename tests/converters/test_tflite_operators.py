"""Every operator and form that TensorFlow Lite files are written from, run in the device's runtime and compared with the ONNX network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from operator_blocks import Form
from operator_nets import FORMS
from tiny_nets import Net, feeds

from converters.calibrate.collect import collect_ranges, float_tensors, instrumented
from converters.calibrate.ranges import Range
from converters.calibrate.reject import reject_outliers
from converters.errors import UnsupportedOp
from converters.model import Graph, graph_of, to_bytes
from converters.passes.for_tflite import expanded, with_expansion
from converters.passes.run import run_passes
from converters.targets.flatbuffer import schema
from converters.targets.tflite_float import emit_tflite_float
from converters.targets.tflite_int8 import emit_tflite_int8
from edge_agent.runtimes.choose import load_model_file


def answers(data: bytes, path: Path, graph: Graph, asked: list[dict[str, Any]]) -> Any:
    path.write_bytes(data)
    runtime = load_model_file(path)
    assert runtime.inputs == graph.inputs
    assert [(s.name, s.dtype, s.shape) for s in runtime.outputs] == [(s.name, s.dtype, s.shape) for s in graph.outputs]
    return np.stack([runtime.run(feed)[graph.outputs[0].name] for feed in asked])


def ranges(graph: Graph, shape: tuple[int, ...], folder: Path) -> dict[str, Range]:
    whole = with_expansion(graph)
    path = folder / "instrumented.onnx"
    path.write_bytes(instrumented(whole))
    samples = feeds(shape, 32)
    return dict(reject_outliers(collect_ranges(path, float_tensors(whole), samples, tuple(range(len(samples))))).ranges)


def operators(data: bytes) -> list[str]:
    words = schema()
    names = {value: name for name, value in vars(words.BuiltinOperator).items() if isinstance(value, int)}
    model = words.ModelT.InitFromObj(words.Model.GetRootAs(data, 0))
    return [names[model.operatorCodes[made.opcodeIndex].builtinCode] for made in model.subgraphs[0].operators]


def check(form: Form, folder: Path) -> None:
    graph, _ = run_passes(form.graph())
    asked = feeds(form.shape, 6, seed=9)
    reference = answers(to_bytes(graph), folder / "model.onnx", graph, asked)
    np.testing.assert_allclose(answers(emit_tflite_float(graph), folder / "float.tflite", graph, asked), reference, atol=1e-4, rtol=1e-4)
    found = answers(emit_tflite_int8(graph, ranges(graph, form.shape, folder)), folder / "int8.tflite", graph, asked)
    noise = max(float(((reference - found) ** 2).sum()), 1e-20)
    assert 10 * np.log10(float((reference**2).sum()) / noise) > form.sqnr_db


@pytest.mark.parametrize("name", FORMS)
def test_a_form_of_an_operator_answers_as_onnx_does(name: str, tmp_path: Path) -> None:
    check(FORMS[name], tmp_path)


@pytest.mark.parametrize(
    "name", ["SPPF", "C2f", "Mul by gate", "SiLU", "Focus", "HardSwish spelled", "Resize nearest", "ConvTranspose 3x3"]
)
def test_inside_a_convolutional_network_nothing_is_transposed(name: str) -> None:
    """But the image that comes in channels-first, and the one that goes out."""
    graph, _ = run_passes(FORMS[name].graph())
    assert operators(emit_tflite_float(graph)).count("TRANSPOSE") == 2


def test_a_series_is_carried_between_its_layers_without_a_change_of_shape() -> None:
    graph, _ = run_passes(FORMS["series"].graph())
    words = operators(emit_tflite_float(graph))
    assert words.index("CONV_2D") == 2  # after the input's transpose and reshape
    assert "RESHAPE" not in words[words.index("CONV_2D") : words.index("AVERAGE_POOL_2D")]


@pytest.mark.parametrize(("name", "word"), [("HardSwish spelled", "HARD_SWISH"), ("Gelu spelled", "GELU")])
def test_an_activation_that_exporters_spell_out_is_one_operator_again(name: str, word: str) -> None:
    graph, _ = run_passes(FORMS[name].graph())
    assert set(operators(emit_tflite_float(graph))) == {"TRANSPOSE", "CONV_2D", word}


def test_the_steps_of_a_recurrent_layer_share_their_weights() -> None:
    """Five steps of 4 x 6 gates: the file holds the 576 bytes of recurrent weights once."""
    graph, _ = run_passes(FORMS["LSTM"].graph())
    data = emit_tflite_float(graph)
    recurrent = np.ascontiguousarray(graph.constants[next(n for n in graph.nodes if n.op_type == "LSTM").input[2]][0]).tobytes()
    assert data.count(recurrent) == 1


def test_a_long_sequence_is_refused_by_the_operators_name() -> None:
    n = Net((300, 1, 4))
    y, _ = n.nodes("LSTM", 2, "x", n.weights(1, 24, 4), n.weights(1, 24, 6), hidden_size=6)
    with pytest.raises(UnsupportedOp, match=r"operator LSTM .*300 steps, at most 128 .*--target onnx"):
        emit_tflite_float(n.graph(y))


def test_a_network_that_has_what_it_needs_is_left_as_it_is() -> None:
    graph, _ = run_passes(FORMS["SPPF"].graph())
    assert expanded(graph) is graph
    assert with_expansion(graph) is graph


LAYERS = st.sampled_from(("conv", "depthwise", "stride", "max", "average", "silu", "swish", "add", "gate", "concat", "up", "slice", "pad"))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.lists(LAYERS, min_size=2, max_size=6), st.integers(0, 2**16))
def test_any_network_of_these_layers_is_the_same_in_float(tmp_path_factory: pytest.TempPathFactory, layers: list[str], seed: int) -> None:
    n = Net((1, 3, 16, 16), seed)
    x, channels, size = n.conv("x", 8, 3, pads=[1, 1, 1, 1]), 8, 16
    for layer in layers:
        if layer == "conv":
            x, channels = n.node("Relu", n.conv(x, 6, channels, pads=[1, 1, 1, 1])), 6
        elif layer == "depthwise":
            x = n.conv(x, channels, channels, group=channels, pads=[1, 1, 1, 1])
        elif layer in ("stride", "max", "average") and size > 2:
            x = {
                "stride": lambda x=x, c=channels: n.conv(x, c, c, strides=[2, 2], pads=[1, 1, 1, 1]),
                "max": lambda x=x: n.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]),
                "average": lambda x=x: n.node("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
            }[layer]()
            size //= 2
        elif layer == "silu":
            x = n.node("Mul", x, n.node("Sigmoid", x))
        elif layer == "swish":
            x = n.node("HardSwish", x)
        elif layer == "add":
            x = n.node("Add", x, n.conv(x, channels, channels, kernel=1))
        elif layer == "gate":
            x = n.node("Mul", x, n.node("Sigmoid", n.conv(n.node("GlobalAveragePool", x), channels, channels, kernel=1)))
        elif layer == "concat" and channels < 20:
            x, channels = n.node("Concat", x, n.conv(x, 4, channels, kernel=1), axis=1), channels + 4
        elif layer == "up" and size < 32:
            x = n.node("Resize", x, "", n.constant([1, 1, 2, 2]), mode="nearest", coordinate_transformation_mode="asymmetric")
            size *= 2
        elif layer == "slice":
            x, channels = n.node("Slice", x, *(n.constant(v, "int64") for v in ([0], [channels - 1], [1]))), channels - 1
        elif layer == "pad":
            x, size = n.node("Pad", x, n.constant([0, 0, 1, 1, 0, 0, 1, 1], "int64")), size + 2
    folder = tmp_path_factory.mktemp("random")
    graph, _ = run_passes(n.graph(n.head(x, channels * size * size)))
    asked = feeds((1, 3, 16, 16), 2, seed=9)
    reference = answers(to_bytes(graph), folder / "model.onnx", graph, asked)
    scale = float(np.abs(reference).max()) + 1
    np.testing.assert_allclose(
        answers(emit_tflite_float(graph), folder / "float.tflite", graph, asked) / scale, reference / scale, atol=1e-4
    )


def several(nodes: list[Any], inputs: list[Any], outputs: list[Any], **constants: Any) -> Graph:
    """A graph with inputs and outputs of any element type."""
    body = helper.make_graph(nodes, "net", inputs, outputs, [numpy_helper.from_array(array, name) for name, array in constants.items()])
    proto = onnx.shape_inference.infer_shapes(helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    return run_passes(graph_of(proto))[0]


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_whole_numbers_and_truth_values_go_in_and_out_as_they_are(kind: str, tmp_path: Path) -> None:
    info, types = helper.make_tensor_value_info, TensorProto
    random = np.random.default_rng(1)
    graph = several(
        [
            helper.make_node("Gather", ["table", "ids"], ["rows"]),
            helper.make_node("Where", ["mask", "rows", "zero"], ["kept"]),
            helper.make_node("ReduceMean", ["kept"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("Gemm", ["mean", "weight"], ["scores"], transB=1),
            helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
        ],
        [info("ids", types.INT64, (1, 5)), info("mask", types.BOOL, (1, 5, 1))],
        [info("scores", types.FLOAT, (1, 4)), info("best", types.INT64, (1,))],
        table=random.normal(0, 1, (9, 8)).astype(np.float32),
        weight=random.normal(0, 1, (4, 8)).astype(np.float32),
        zero=np.zeros(1, np.float32),
    )
    asked = [{"ids": random.integers(0, 9, (1, 5)), "mask": random.random((1, 5, 1)) > 0.3} for _ in range(20)]
    (tmp_path / "model.onnx").write_bytes(to_bytes(graph))
    (tmp_path / "instrumented.onnx").write_bytes(instrumented(graph))
    table = collect_ranges(tmp_path / "instrumented.onnx", float_tensors(graph), asked, tuple(range(20)))
    data = emit_tflite_float(graph) if kind == "float" else emit_tflite_int8(graph, reject_outliers(table).ranges)
    (tmp_path / "model.tflite").write_bytes(data)
    ours, theirs = load_model_file(tmp_path / "model.tflite"), load_model_file(tmp_path / "model.onnx")
    assert ours.inputs == theirs.inputs
    found = [(ours.run(feed), theirs.run(feed)) for feed in asked]
    assert np.mean([one["best"][0] == other["best"][0] for one, other in found]) >= (1.0 if kind == "float" else 0.8)
    np.testing.assert_allclose(*([pair[i]["scores"] for pair in found] for i in (0, 1)), atol=1e-5 if kind == "float" else 0.1)


def test_half_precision_inputs_are_refused_by_name() -> None:
    info = helper.make_tensor_value_info
    graph = several(
        [helper.make_node("Relu", ["x"], ["y"])], [info("x", TensorProto.FLOAT16, (1, 4))], [info("y", TensorProto.FLOAT16, (1, 4))]
    )
    with pytest.raises(UnsupportedOp, match=r"input x is float16.*--target onnx"):
        emit_tflite_float(graph)


def test_a_branch_that_reads_a_series_from_outside_still_finds_it() -> None:
    """The pass for layers over one axis leaves a valid network; the branch itself is refused by name."""
    info, types = helper.make_tensor_value_info, TensorProto
    branches = [
        helper.make_graph([helper.make_node(op, ["deep"], [f"{op}_out"])], op, [], [info(f"{op}_out", types.FLOAT, (1, 2, 6))])
        for op in ("Neg", "Abs")
    ]
    graph = several(
        [
            helper.make_node("Conv", ["x", "weight"], ["wide"]),
            helper.make_node("Relu", ["wide"], ["deep"]),
            helper.make_node("If", ["which"], ["y"], then_branch=branches[0], else_branch=branches[1], name="choice"),
        ],
        [info("x", types.FLOAT, (1, 3, 8)), info("which", types.BOOL, ())],
        [info("y", types.FLOAT, (1, 2, 6))],
        weight=np.ones((2, 3, 3), np.float32),
    )
    onnx.checker.check_model(onnx.load_from_string(to_bytes(expanded(graph))))
    with pytest.raises(UnsupportedOp, match=r"operator If \(node choice\)"):
        emit_tflite_float(graph)
