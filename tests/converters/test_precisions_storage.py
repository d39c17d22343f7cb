"""Files computed in float32 whose weights are stored in two bytes or one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from emitted import noise_db, run, written
from onnx import TensorProto, helper
from tiny_nets import IMAGE, Net

from converters.errors import UnsupportedOp
from converters.model import Graph, graph_of, to_bytes
from converters.targets.onnx_storage import emit_onnx_float16, emit_onnx_weights8
from converters.targets.tflite_float import emit_tflite_float, emit_tflite_float16, emit_tflite_weights8

Emit = Callable[[Graph], bytes]
FORMS = pytest.mark.parametrize(
    ("emit", "extension", "share", "least_db"),
    [
        (emit_onnx_float16, "onnx", 0.55, 55),
        (emit_onnx_weights8, "onnx", 0.32, 35),
        (emit_tflite_float16, "tflite", 0.55, 55),
        (emit_tflite_weights8, "tflite", 0.32, 35),
    ],
)


def wide() -> Graph:
    """Convolutions, one of them by channel, and a dense layer, all large enough to be worth storing small."""
    n = Net()
    first = n.node("Relu", n.conv("x", 64, 3, pads=[1, 1, 1, 1]))
    deep = n.node("Relu", n.conv(first, 64, 64, group=64, pads=[1, 1, 1, 1]))
    return n.graph(n.head(n.node("Relu", n.conv(deep, 32, 64)), 32 * 36))


@FORMS
def test_the_file_is_smaller_and_answers_as_the_float_one(
    emit: Emit, extension: str, share: float, least_db: float, tmp_path: Path
) -> None:
    graph = wide()
    reference = run(to_bytes(graph), "float.onnx", graph, IMAGE, tmp_path)
    data = emit(graph)
    assert noise_db(reference, run(data, f"small.{extension}", graph, IMAGE, tmp_path)) > least_db
    whole = to_bytes(graph) if extension == "onnx" else emit_tflite_float(graph)
    assert len(data) < share * len(whole)
    assert data == emit(graph)


@FORMS
def test_without_layers_there_is_nothing_to_store(emit: Emit, extension: str, share: float, least_db: float) -> None:
    n = Net()
    with pytest.raises(UnsupportedOp, match="no weights that are worth storing"):
        emit(n.graph(n.node("Relu", "x")))


@pytest.mark.parametrize("emit", [emit_onnx_float16, emit_onnx_weights8])
def test_onnx_runtime_makes_the_weights_float_once(emit: Emit, tmp_path: Path) -> None:
    """What is left to do at each inference is what the float file does."""

    def optimized(data: bytes, name: str) -> list[str]:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / name)
        options.log_severity_level = 4
        onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return [node.op_type for node in onnx.load(str(tmp_path / name)).graph.node]

    assert optimized(emit(wide()), "small.onnx") == optimized(to_bytes(wide()), "float.onnx")


def test_weights_beyond_float16_stay_whole(tmp_path: Path) -> None:
    n = Net((1, 32))
    huge = n.constant(n.random.normal(0, 1e6, (32, 32)))
    graph = n.graph(n.dense(n.node("MatMul", "x", huge), 32, 16))
    model = onnx.load_from_string(emit_onnx_float16(graph))
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert kinds[huge] == TensorProto.FLOAT
    assert TensorProto.FLOAT16 in kinds.values()


def test_a_constant_read_inside_a_branch_is_still_there(tmp_path: Path) -> None:
    weight = np.random.default_rng(1).normal(0, 1, (16, 32)).astype(np.float32)
    branches = {
        name: helper.make_graph([helper.make_node(op, ["outer"], [name])], name, [], [helper.make_tensor_value_info(name, 1, [16, 32])])
        for name, op in (("yes", "Identity"), ("no", "Neg"))
    }
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "outer"], ["y"]),
            helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            helper.make_node("Cast", ["sum"], ["which"], to=TensorProto.BOOL),
            helper.make_node("If", ["which"], ["z"], then_branch=branches["yes"], else_branch=branches["no"]),
            helper.make_node("Add", ["y", "z"], ["out"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", 1, [16, 16])],
        [helper.make_tensor_value_info("out", 1, [16, 32])],
        [onnx.numpy_helper.from_array(weight, "outer")],
    )
    graph = graph_of(helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    reference = run(to_bytes(graph), "float.onnx", graph, (16, 16), tmp_path)
    assert noise_db(reference, run(emit_onnx_float16(graph), "half.onnx", graph, (16, 16), tmp_path)) > 55
    with pytest.raises(UnsupportedOp):  # in a branch it may be anything, so it is not rounded as a weight
        emit_onnx_weights8(graph)


@pytest.mark.parametrize("emit", [emit_tflite_float16, emit_tflite_weights8])
def test_tflite_weights_are_made_float_in_the_file(emit: Emit) -> None:
    ops = written(emit(wide()))
    assert ops["DEQUANTIZE"] == 4
    assert ops["QUANTIZE"] == 0
