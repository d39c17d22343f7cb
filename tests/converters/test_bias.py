"""The mean error of rounded weights is taken out of biases, and that helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_nets import Net, feeds

from benchmarks.nets.digits import SIZES, images, model
from converters.calibrate.bias import correct_bias
from converters.calibrate.collect import instrumented
from converters.calibrate.observe import observe, plan_for
from converters.calibrate.ranges import Calibration
from converters.load import load_source
from converters.model import Graph
from converters.passes.linear import linear_weights
from converters.passes.run import run_passes
from converters.targets.onnx_float import emit_onnx_float
from converters.targets.onnx_qdq import emit_onnx_int8
from converters.targets.scales import quantize_weights
from converters.targets.tflite_int8 import emit_tflite_int8
from edge_agent.runtimes.choose import load_model_file


def calibrated(graph: Graph, folder: Path, samples: list[dict[str, np.ndarray]]) -> Calibration:
    path = folder / "instrumented.onnx"
    path.write_bytes(instrumented(graph))
    return observe(path, plan_for(graph), lambda rows: (samples[row] for row in rows), tuple(range(len(samples))), "minmax")


def rounded(graph: Graph) -> Graph:
    """The same network with the values its weights have in int8."""
    found = {}
    for node in graph.nodes:
        linear = linear_weights(node, graph.constants) if node.op_type in ("Conv", "Gemm") else None
        if linear is not None:
            made = quantize_weights(linear.weight, linear.axis)
            form = [1] * linear.weight.ndim
            form[linear.axis] = -1
            found[node.input[1]] = (made.values * made.scales.reshape(form)).astype(np.float32)
    return graph.edited(graph.nodes, found)


def answers(data: bytes, path: Path, samples: list[dict[str, np.ndarray]]) -> np.ndarray:
    path.write_bytes(data)
    runtime = load_model_file(path, threads=1)
    return np.stack([next(iter(runtime.run(sample).values())).copy() for sample in samples])


@pytest.mark.parametrize("kind", ["dense", "dense, columns first", "conv", "grouped", "depthwise", "no bias"])
def test_rounded_weights_give_the_same_mean_as_exact_ones(kind: str, tmp_path: Path) -> None:
    n = Net((1, 12) if kind.startswith("dense") else (1, 4, 6, 6))
    if kind == "dense":
        output = n.dense("x", 12, 5)
    elif kind.startswith("dense"):
        output = n.node("Gemm", "x", n.weights(12, 5), n.constant(np.zeros(5)))
    else:
        groups = {"grouped": 2, "depthwise": 4}.get(kind, 1)
        output = n.conv("x", 8, 4, kernel=3, group=groups, bias=kind != "no bias")
    graph = n.graph(output)
    draw = np.random.default_rng(0)
    shape = graph.inputs[0].shape
    flat = (*shape[:2], *[1] * (len(shape) - 2))  # the same all over an image: every window then sees the image's mean
    samples = [{"x": np.broadcast_to(draw.uniform(0, 3, flat), shape).astype(np.float32)} for _ in range(20)]
    corrected = correct_bias(graph, calibrated(graph, tmp_path, samples))

    def means(of: Graph) -> np.ndarray:
        found = answers(emit_onnx_float(of), tmp_path / "m.onnx", samples)
        return found.mean(axis=tuple(i for i in range(found.ndim) if i != 2))

    exact = means(graph)
    assert np.abs(means(rounded(graph)) - exact).max() > 1e-4
    np.testing.assert_allclose(means(rounded(corrected)), exact, atol=2e-6)


def test_layers_that_stay_float_keep_their_biases(tmp_path: Path) -> None:
    n = Net((1, 12))
    first = n.dense("x", 12, 8)
    graph = n.graph(n.dense(n.node("Relu", first), 8, 3))
    found = calibrated(graph, tmp_path, feeds((1, 12), 8))
    both = [node.input[2] for node in correct_bias(graph, found).nodes if node.op_type == "Gemm"]
    one = [node.input[2] for node in correct_bias(graph, found, frozenset({first})).nodes if node.op_type == "Gemm"]
    before = [node.input[2] for node in graph.nodes if node.op_type == "Gemm"]
    assert one[0] == before[0] and one[1] == both[1] != before[1]
    assert correct_bias(graph, found, frozenset(node.output[0] for node in graph.nodes)) is graph
    assert correct_bias(graph, Calibration({}, (), 0)) is graph


@pytest.mark.parametrize("name", SIZES)
def test_it_never_makes_a_trained_network_noisier(name: str, tmp_path: Path) -> None:
    source = load_source(model(name)).graph
    assert source is not None
    graph = run_passes(source)[0]
    x, _, test, _ = images(name)
    found = calibrated(graph, tmp_path, [{"image": image[None]} for image in x[:80]])
    held_out = [{"image": image[None]} for image in test[:200]]
    reference = answers(emit_onnx_float(graph), tmp_path / "float.onnx", held_out)
    corrected = correct_bias(graph, found)
    for extension, emit in (("onnx", emit_onnx_int8), ("tflite", emit_tflite_int8)):
        before, after = (
            np.square(answers(emit(of, found.ranges), tmp_path / f"m.{extension}", held_out) - reference).sum() for of in (graph, corrected)
        )
        assert after <= before * 1.02
