"""What the targets write, run in the device's runtimes and compared with the float network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from emitted import calibrated, noise_db, run
from tiny_nets import NETS, Net, make

from converters.errors import UnsupportedOp
from converters.model import to_bytes
from converters.passes.run import run_passes
from converters.targets.onnx_qdq import emit_onnx_int8
from converters.targets.scales import activation_scale, quantize_weights
from converters.targets.tflite_float import emit_tflite_float
from converters.targets.tflite_int8 import emit_tflite_int8


@pytest.mark.parametrize("name", NETS)
def test_every_target_answers_as_the_float_network_does(name: str, tmp_path: Path) -> None:
    made, shape = make(name)
    graph, _ = run_passes(made)
    reference = run(to_bytes(graph), "float.onnx", graph, shape, tmp_path)
    ranges = calibrated(graph, shape, tmp_path).ranges
    np.testing.assert_allclose(run(emit_tflite_float(graph), "float.tflite", graph, shape, tmp_path), reference, atol=1e-4, rtol=1e-4)
    assert noise_db(reference, run(emit_tflite_int8(graph, ranges), "int8.tflite", graph, shape, tmp_path)) > 24
    assert noise_db(reference, run(emit_onnx_int8(graph, ranges), "int8.onnx", graph, shape, tmp_path)) > 24


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    graph, shape = make("residual")
    ranges = calibrated(graph, shape, tmp_path).ranges
    assert emit_onnx_int8(graph, ranges) == emit_onnx_int8(graph, ranges)
    assert emit_tflite_int8(graph, ranges) == emit_tflite_int8(graph, ranges)


def test_int8_files_are_a_quarter_of_the_float_ones(tmp_path: Path) -> None:
    n = Net((1, 64))
    graph = n.graph(n.dense(n.node("Relu", n.dense("x", 64, 256)), 256, 256))
    ranges = calibrated(graph, (1, 64), tmp_path).ranges
    whole = len(to_bytes(graph))
    assert len(emit_onnx_int8(graph, ranges)) < 0.3 * whole
    assert len(emit_tflite_int8(graph, ranges)) < 0.3 * whole


def test_onnx_runtime_computes_the_int8_file_in_integers(tmp_path: Path) -> None:
    import onnxruntime

    graph, shape = make("residual")
    path = tmp_path / "int8.onnx"
    path.write_bytes(emit_onnx_int8(graph, calibrated(graph, shape, tmp_path).ranges))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    ops = [node.op_type for node in onnx.load(str(tmp_path / "optimized.onnx")).graph.node]
    assert ops.count("QLinearConv") == 2
    assert "QLinearAdd" in ops
    assert "QGemm" in ops
    assert not {"Conv", "Add", "Gemm", "DequantizeLinear"} & set(ops)


def test_an_operator_tflite_lacks_is_refused_by_name_and_passes_through_in_onnx(tmp_path: Path) -> None:
    n = Net()
    graph = n.graph(n.head(n.node("Atan", n.node("Relu", n.conv("x", 6, 3))), 6 * 36))
    with pytest.raises(UnsupportedOp, match=r"operator Atan \(node n_t2\).*--target onnx"):
        emit_tflite_float(graph)
    ranges = calibrated(graph, (1, 3, 8, 8), tmp_path).ranges
    reference = run(to_bytes(graph), "float.onnx", graph, (1, 3, 8, 8), tmp_path)
    assert noise_db(reference, run(emit_onnx_int8(graph, ranges), "int8.onnx", graph, (1, 3, 8, 8), tmp_path)) > 24


@pytest.mark.parametrize(
    ("build", "what"),
    [
        (lambda n: n.node("Pad", "x", n.constant([0, 0, 1, 1, 0, 0, 1, 1], "int64"), mode="wrap"), "its mode wrap"),
        (lambda n: n.node("Elu", "x", alpha=0.5), "its alpha is not 1"),
        (lambda n: n.node("Resize", "x", "", n.constant([1, 1, 2, 2]), mode="cubic"), "its mode cubic"),
        (lambda n: n.node("Conv", "x", n.node("Transpose", "x", perm=[1, 0, 2, 3]), group=6), "not constants"),
    ],
)
def test_forms_tflite_lacks_are_refused_with_the_reason(build: object, what: str) -> None:
    n = Net((1, 6, 8, 8))
    with pytest.raises(UnsupportedOp, match=what):
        emit_tflite_float(n.graph(build(n)))  # type: ignore[operator]


def test_a_network_without_layers_is_not_called_int8() -> None:
    n = Net((1, 12))
    with pytest.raises(UnsupportedOp, match="no convolution or dense layer"):
        emit_onnx_int8(n.graph(n.node("Relu", "x")), {"x": (0, 1), "t0": (0, 1)})


@pytest.mark.parametrize("extent", [(0.0, 0.0), (0.2, 3.0), (-4.0, -1.0), (-1.0, 7.0)])
@pytest.mark.parametrize("signed", [True, False])
def test_zero_is_exact_in_every_scale(extent: tuple[float, float], signed: bool) -> None:
    scale = activation_scale(extent, signed=signed)
    low, high = (-128, 127) if signed else (0, 255)
    assert low <= scale.zero_point <= high
    assert (low - scale.zero_point) * scale.scale <= min(extent[0], 0) + scale.scale
    assert (high - scale.zero_point) * scale.scale >= max(extent[1], 0) - scale.scale


def test_weights_are_rounded_by_channel() -> None:
    weight = np.array([[1.0, -0.5], [100.0, 3.0]], np.float32)
    quantized = quantize_weights(weight, 0)
    np.testing.assert_allclose(quantized.values * quantized.scales[:, None], weight, atol=0.5)
    np.testing.assert_allclose(quantized.values[0] * quantized.scales[0], weight[0], atol=0.005)
