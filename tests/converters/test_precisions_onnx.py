"""ONNX files in integers: operators that have integer kernels, that only move values, and that pass through in float."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from emitted import calibrated, noise_db, run
from onnx import TensorProto, helper
from tiny_nets import IMAGE, NETS, Net, make

from converters.errors import UnsupportedOp
from converters.model import Graph, to_bytes
from converters.passes.run import run_passes
from converters.targets.onnx_qdq import emit_onnx_int8, emit_onnx_int16x8

TOKENS = (1, 6, 16)
SIGNAL = (1, 3, 32)


def body(n: Net) -> str:
    return n.node("Relu", n.conv("x", 8, 3, pads=[1, 1, 1, 1]))


def tail(n: Net, x: str, channels: int = 8) -> str:
    return n.conv(x, 4, channels, kernel=1)


def numbers(n: Net, *values: int) -> str:
    return n.constant(list(values), "int64")


def attention(n: Net) -> str:
    query, key, value = (n.node("MatMul", "x", n.weights(16, 16)) for _ in range(3))
    scores = n.node("MatMul", query, n.node("Transpose", key, perm=[0, 2, 1]))
    mixed = n.node("MatMul", n.node("Softmax", n.node("Mul", scores, n.constant(0.25)), axis=-1), value)
    return n.node("Add", n.node("MatMul", mixed, n.weights(16, 16)), "x")


def dense_rows(n: Net, inputs: int, outputs: int) -> str:
    return n.node("Add", n.node("MatMul", "x", n.weights(inputs, outputs)), n.constant(n.random.normal(0, 0.2, outputs)))


def divided(n: Net) -> str:
    left = n.node("Split", body(n), numbers(n, 3, 5), axis=1)
    other = f"{left}_other"
    n._nodes[-1].output.append(other)
    return n.conv(n.node("Concat", n.node("Relu", n.conv(left, 4, 3)), n.conv(other, 4, 5), axis=1), 4, 8, kernel=1)


def branch(n: Net) -> str:
    """The branches read a tensor of the graph around them, which exists as codes there."""
    kept = body(n)
    some = n.node("Greater", n.node("ReduceSum", kept, keepdims=0), n.constant(1.0))
    inner = [
        helper.make_graph([helper.make_node(op, [kept], [op])], op, [], [helper.make_tensor_value_info(op, TensorProto.FLOAT, None)])
        for op in ("Neg", "Abs")
    ]
    return tail(n, n.node("If", some, then_branch=inner[0], else_branch=inner[1]))


CASES: Mapping[str, tuple[Callable[[Net], str], tuple[int, ...]]] = {
    "tokens": (lambda n: n.node("Add", n.node("MatMul", "x", n.weights(16, 24)), n.constant(n.random.normal(0, 1, 24))), TOKENS),
    "feed forward": (
        lambda n: n.node(
            "Add",
            n.node("MatMul", n.node("Relu", dense_rows(n, 16, 32)), n.weights(32, 16)),
            n.constant(n.random.normal(0, 1, 16)),
        ),
        TOKENS,
    ),
    "two of the same": (lambda n: n.node("Mul", dense_rows(n, 16, 8), n.node("Tanh", dense_rows(n, 16, 8))), TOKENS),
    "probability": (lambda n: n.node("Sigmoid", n.dense(n.node("Relu", n.dense("x", 16, 32)), 32, 8)), (1, 16)),
    "attention": (attention, TOKENS),
    "signal": (lambda n: n.node("Conv", n.node("Relu", n.node("Conv", "x", n.weights(8, 3, 5))), n.weights(4, 8, 3)), SIGNAL),
    "transposed": (lambda n: tail(n, n.node("ConvTranspose", body(n), n.weights(8, 8, 3, 3), strides=[2, 2])), IMAGE),
    "hard swish": (lambda n: tail(n, n.node("HardSwish", n.conv("x", 8, 3))), IMAGE),
    "hard swish spelled": (
        lambda n: tail(
            n,
            n.node(
                "Div",
                n.node("Mul", c := n.conv("x", 8, 3), n.node("Clip", n.node("Add", c, n.constant(3.0)), n.constant(0.0), n.constant(6.0))),
                n.constant(6.0),
            ),
        ),
        IMAGE,
    ),
    "hard sigmoid": (lambda n: tail(n, n.node("HardSigmoid", n.conv("x", 8, 3), alpha=0.3, beta=0.4)), IMAGE),
    "swish": (lambda n: tail(n, n.node("Mul", c := n.conv("x", 8, 3), n.node("Sigmoid", c))), IMAGE),
    "gelu": (lambda n: tail(n, n.node("Mul", c := n.conv("x", 8, 3), n.node("Erf", c))), IMAGE),
    "squeeze excite": (
        lambda n: tail(n, n.node("Mul", b := body(n), n.node("Sigmoid", n.conv(n.node("GlobalAveragePool", b), 8, 8, kernel=1)))),
        IMAGE,
    ),
    "leaky": (lambda n: tail(n, n.node("LeakyRelu", n.conv("x", 8, 3), alpha=0.2)), IMAGE),
    "two ends": (lambda n: tail(n, n.node("Clip", n.conv("x", 8, 3), n.constant(-0.7), n.constant(0.9))), IMAGE),
    "ends above zero": (lambda n: tail(n, n.node("Clip", n.conv("x", 8, 3), n.constant(0.2), n.constant(0.9))), IMAGE),
    "by channel": (lambda n: tail(n, n.node("Mul", body(n), n.constant(n.random.uniform(0.5, 2, (8, 1, 1))))), IMAGE),
    "one number": (lambda n: tail(n, n.node("Add", body(n), n.constant(-0.4))), IMAGE),
    "nearest": (lambda n: tail(n, n.node("Resize", body(n), "", n.constant([1, 1, 2, 2]), mode="nearest")), IMAGE),
    "bilinear": (lambda n: tail(n, n.node("Resize", body(n), "", n.constant([1, 1, 2, 2]), mode="linear")), IMAGE),
    "cubic": (lambda n: tail(n, n.node("Resize", body(n), "", n.constant([1, 1, 2, 2]), mode="cubic")), IMAGE),
    "cut": (lambda n: tail(n, n.node("Slice", body(n), numbers(n, 1), numbers(n, 7), numbers(n, 2))), IMAGE),
    "divided": (divided, IMAGE),
    "gathered": (lambda n: tail(n, n.node("Gather", body(n), numbers(n, 3, 1, 0), axis=1), 3), IMAGE),
    "padded": (lambda n: tail(n, n.node("Pad", body(n), numbers(n, 0, 0, 1, 2, 0, 0, 0, 1))), IMAGE),
    "padded with a number": (lambda n: tail(n, n.node("Pad", body(n), numbers(n, 0, 0, 1, 2, 0, 0, 0, 1), n.constant(0.5))), IMAGE),
    "mirrored": (lambda n: tail(n, n.node("Pad", body(n), numbers(n, 0, 0, 1, 2, 0, 0, 0, 1), mode="reflect")), IMAGE),
    "depth to space": (lambda n: tail(n, n.node("DepthToSpace", body(n), blocksize=2), 2), IMAGE),
    "shuffled": (
        lambda n: tail(
            n,
            n.node(
                "Reshape",
                n.node("Transpose", n.node("Reshape", body(n), numbers(n, 1, 2, 4, 8, 8)), perm=[0, 2, 1, 3, 4]),
                numbers(n, 1, 8, 8, 8),
            ),
        ),
        IMAGE,
    ),
    "branch": (branch, IMAGE),
}


def built(name: str) -> tuple[Graph, tuple[int, ...]]:
    build, shape = CASES[name]
    net = Net(shape)
    return run_passes(net.graph(build(net)))[0], shape


def optimized(data: bytes, folder: Path) -> list[str]:
    """The operators left when ONNX Runtime has done what it does on any processor."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(str(folder / "optimized.onnx")).graph.node]


@pytest.mark.parametrize("name", CASES)
def test_integers_answer_as_the_float_network_does(name: str, tmp_path: Path) -> None:
    graph, shape = built(name)
    reference = run(to_bytes(graph), "float.onnx", graph, shape, tmp_path)
    ranges = calibrated(graph, shape, tmp_path).ranges
    assert noise_db(reference, run(emit_onnx_int8(graph, ranges), "int8.onnx", graph, shape, tmp_path)) > 26
    assert noise_db(reference, run(emit_onnx_int16x8(graph, ranges), "wide.onnx", graph, shape, tmp_path)) > 34


@pytest.mark.parametrize("name", CASES)
def test_no_layer_is_left_in_float_with_weights_to_be_converted_at_each_inference(name: str, tmp_path: Path) -> None:
    graph, shape = built(name)
    ops = optimized(emit_onnx_int8(graph, calibrated(graph, shape, tmp_path).ranges), tmp_path)
    assert not {"Conv", "FusedConv", "Gemm", "FusedGemm", "FusedMatMul", "MatMul"} & set(ops)
    integer = ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat")
    assert sum(ops.count(op) for op in integer) == sum(node.op_type in ("Conv", "Gemm", "MatMul") for node in graph.nodes)


@pytest.mark.parametrize(
    "name",
    ["swish", "squeeze excite", "leaky", "two ends", "by channel", "one number", "nearest", "cut", "divided", "gathered", "shuffled"],
)
def test_between_its_ends_such_a_network_is_all_integers(name: str, tmp_path: Path) -> None:
    graph, shape = built(name)
    ops = optimized(emit_onnx_int8(graph, calibrated(graph, shape, tmp_path).ranges), tmp_path)
    assert (ops.count("QuantizeLinear"), ops.count("DequantizeLinear")) == (1, 1)


@pytest.mark.parametrize("name", ["padded", "padded with a number", "mirrored", "bilinear"])
def test_values_are_moved_as_codes(name: str, tmp_path: Path) -> None:
    graph, shape = built(name)
    model = onnx.load_from_string(emit_onnx_int8(graph, calibrated(graph, shape, tmp_path).ranges))
    mover = next(node for node in model.graph.node if node.op_type in ("Pad", "Resize"))
    assert mover.input[0].endswith("/codes")
    assert mover.output[0].endswith("/codes")


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("part", [0, 1, 2])
def test_any_part_can_stay_float(name: str, part: int, tmp_path: Path) -> None:
    made, shape = make(name)
    graph, _ = run_passes(made)
    kept = frozenset(node.output[0] for node in graph.nodes[part::3])
    reference = run(to_bytes(graph), "float.onnx", graph, shape, tmp_path)
    try:
        data = emit_onnx_int8(graph, calibrated(graph, shape, tmp_path).ranges, kept)
    except UnsupportedOp:
        assert {node.output[0] for node in graph.nodes if node.op_type in ("Conv", "Gemm")} <= kept
        return
    assert noise_db(reference, run(data, "mixed.onnx", graph, shape, tmp_path)) > 24
    floats = ("Conv", "FusedConv", "Gemm", "FusedGemm")
    wanted = sum(node.output[0] in kept and node.op_type in floats for node in graph.nodes)
    assert sum(op in floats for op in optimized(data, tmp_path)) == wanted


def test_weights_without_an_integer_kernel_are_stored_in_int8(tmp_path: Path) -> None:
    n = Net()
    graph = n.graph(tail(n, n.node("ConvTranspose", body(n), n.weights(8, 16, 3, 3), strides=[2, 2]), 16))
    tensors = onnx.load_from_string(emit_onnx_int8(graph, calibrated(graph, IMAGE, tmp_path).ranges)).graph.initializer
    assert not [t.name for t in tensors if t.data_type == TensorProto.FLOAT and np.prod(t.dims) > 100]
