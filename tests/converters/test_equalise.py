"""Channels of wild sizes are matched without changing one bit of an answer; matched ones are left alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_nets import NETS, Net, feeds, make

from benchmarks.convert.unbalance import unbalanced, unclipped
from benchmarks.nets.digits import SIZES, images, model
from converters.calibrate.collect import collect_ranges, float_tensors, instrumented
from converters.calibrate.ranges import Calibration
from converters.calibrate.reject import reject_outliers
from converters.load import load_source
from converters.model import Graph
from converters.passes.channels import channel_groups
from converters.passes.equalise import equalise
from converters.passes.run import run_passes
from converters.targets.onnx_float import emit_onnx_float
from converters.targets.onnx_qdq import emit_onnx_int8
from converters.targets.tflite_int8 import emit_tflite_int8
from edge_agent.runtimes.choose import load_model_file


def answers(data: bytes, path: Path, samples: list[dict[str, np.ndarray]]) -> np.ndarray:
    path.write_bytes(data)
    runtime = load_model_file(path, threads=1)
    return np.stack([next(iter(runtime.run(sample).values())).reshape(-1).copy() for sample in samples])


def trained(name: str) -> Graph:
    graph = load_source(model(name)).graph
    assert graph is not None
    return run_passes(graph)[0]


def calibrated(graph: Graph, folder: Path, samples: list[dict[str, np.ndarray]]) -> Calibration:
    path = folder / "instrumented.onnx"
    path.write_bytes(instrumented(graph))
    return reject_outliers(collect_ranges(path, float_tensors(graph), samples, tuple(range(len(samples)))))


def spread(graph: Graph, layer: int) -> float:
    """Largest over smallest range of the input channels of a convolution's weight."""
    node = [n for n in graph.nodes if n.op_type == "Conv"][layer]
    ranges = np.abs(graph.constants[node.input[1]]).max(axis=(0, 2, 3))
    return float(ranges.max() / ranges.min())


@pytest.mark.parametrize("name", SIZES)
def test_a_trained_network_is_left_as_it_is(name: str) -> None:
    graph = trained(name)
    assert equalise(graph) is graph


@pytest.mark.parametrize("name", ["plain", "resnet8", "depthwise"])
def test_an_unbalanced_network_is_repaired_in_both_formats(name: str, tmp_path: Path) -> None:
    x, _, test, _ = images(name)
    graph = unclipped(trained(name))  # all of them clip somewhere behind a ReLU6
    wild = unbalanced(graph, seed=3)
    samples = [{"image": image[None]} for image in x[:60]]
    held_out = [{"image": image[None]} for image in test[:100]]
    mended = equalise(wild)
    assert mended is not wild
    expected = answers(emit_onnx_float(wild), tmp_path / "wild.onnx", held_out)
    np.testing.assert_array_equal(answers(emit_onnx_float(mended), tmp_path / "mended.onnx", held_out), expected)
    ranges = calibrated(mended, tmp_path, samples).ranges
    spoilt = calibrated(wild, tmp_path, samples).ranges
    emitters: Mapping[str, Callable[..., bytes]] = {"onnx": emit_onnx_int8, "tflite": emit_tflite_int8}
    for extension, emit in emitters.items():
        before = answers(emit(wild, spoilt), tmp_path / f"before.{extension}", held_out)
        after = answers(emit(mended, ranges), tmp_path / f"after.{extension}", held_out)
        assert (before.argmax(1) == expected.argmax(1)).mean() < 0.5
        assert (after.argmax(1) == expected.argmax(1)).mean() >= 0.99
        noise = 10 * np.log10(np.square(expected).sum() / np.square(after - expected).sum())
        assert noise > 30


def test_channels_behind_relu6_stay() -> None:
    graph = trained("depthwise")
    assert not channel_groups(graph)
    assert len(channel_groups(unclipped(graph))) == 11


def test_a_residual_sum_shares_its_factors() -> None:
    sizes = [(len(g.writers), len(g.readers)) for g in channel_groups(trained("resnet8"))]
    assert sorted(sizes) == [(1, 1), (1, 1), (1, 1), (2, 1), (2, 2), (2, 3)]


@pytest.mark.parametrize("name", NETS)
@given(seed=st.integers(0, 1000))
@settings(max_examples=3, deadline=None)
def test_every_network_answers_the_same_when_its_channels_are_scaled(
    name: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("nets")
    graph, shape = make(name)
    graph = run_passes(graph)[0]
    samples = feeds(shape, 2)
    wild = unbalanced(graph, seed=seed)
    before = answers(emit_onnx_float(graph), folder / "a.onnx", samples)
    between = answers(emit_onnx_float(wild), folder / "b.onnx", samples)
    np.testing.assert_allclose(between, before, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(answers(emit_onnx_float(equalise(wild)), folder / "c.onnx", samples), between)


def in_the_middle(n: Net, op: Callable[[str], str]) -> Graph:
    """A layer with channels of sizes 1 to 2^15, ``op``, and a layer that undoes these sizes."""
    sizes = 2.0 ** np.arange(0, 16, 2)
    first = n.node("Conv", "x", n.constant(n.random.normal(0, 1, (8, 3, 1, 1)) * sizes[:, None, None, None]))
    second = n.constant(n.random.normal(0, 1, (4, 8, 1, 1)) / sizes[:, None, None])
    return n.graph(n.node("Conv", op(first), second))


@pytest.mark.parametrize("op", ["LeakyRelu", "Relu", "Abs", "PRelu", "Mul", "AveragePool", "Pad", "ReduceMean"])
def test_homogeneous_operators_are_seen_through(op: str) -> None:
    n = Net()
    arguments: dict[str, object] = {"kernel_shape": [2, 2]} if op == "AveragePool" else {"axes": [2, 3]} if op == "ReduceMean" else {}
    extra = {
        "PRelu": [n.constant(np.full((8, 1, 1), 0.2))],
        "Mul": [n.constant(3.0)],
        "Pad": [n.constant([0, 0, 1, 1, 0, 0, 1, 1], "int64")],
    }.get(op, [])
    graph = in_the_middle(n, lambda x: n.node(op, x, *extra, **arguments))
    assert spread(graph, 1) > 1000
    assert spread(equalise(graph), 1) < 100


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh", "HardSigmoid"])
def test_other_operators_are_not(op: str) -> None:
    n = Net()
    graph = in_the_middle(n, lambda x: n.node(op, x))
    assert equalise(graph) is graph


@pytest.mark.parametrize("what", ["constant", "clip", "shown", "ones"])
def test_what_would_change_the_answer_is_not_done(what: str) -> None:
    n = Net()
    operations: Mapping[str, Callable[[str], str]] = {
        "constant": lambda x: n.node("Add", x, n.constant(1.0)),
        "clip": lambda x: n.node("Clip", x, n.constant(0.0), n.constant(6.0)),
        "shown": lambda x: n.node("Relu", x),
        "ones": lambda x: n.node("Pad", x, n.constant([0, 0, 1, 1, 0, 0, 1, 1], "int64"), n.constant(1.0)),
    }
    graph = in_the_middle(n, operations[what])
    if what == "shown":  # the tensor between the layers is an output of the model itself
        graph = n.graph(graph.nodes[1].output[0])
    assert equalise(graph) is graph


def test_half_precision_has_no_room_for_factors() -> None:
    n = Net()
    graph = in_the_middle(n, lambda x: n.node("Relu", x))
    assert channel_groups(graph)
    halves = graph.edited(graph.nodes, {name: array.astype(np.float16) for name, array in graph.constants.items()})
    assert not channel_groups(halves)


def test_dead_channels_are_no_reason() -> None:
    n = Net()
    weight = n.random.normal(0, 1, (8, 3, 3, 3))
    weight[:5] *= 1e-9
    weight[5] = 0
    x = n.node("Relu", n.node("Conv", "x", n.constant(weight)))
    graph = n.graph(n.conv(x, 4, 8, bias=False))
    assert equalise(graph) is graph
