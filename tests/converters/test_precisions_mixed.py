"""Networks with some nodes kept float: right answers, and conversions only where integer and float meet."""

from __future__ import annotations

from pathlib import Path

import pytest
from emitted import calibrated, noise_db, run, written
from tiny_nets import IMAGE, NETS, Net, make

from converters.errors import UnsupportedOp
from converters.model import Graph, to_bytes
from converters.passes.run import run_passes
from converters.targets.tflite_int8 import emit_tflite_int8


def layers(graph: Graph) -> list[str]:
    return [node.output[0] for node in graph.nodes if node.op_type in ("Conv", "Gemm")]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("part", [0, 1, 2])
def test_any_part_can_stay_float(name: str, part: int, tmp_path: Path) -> None:
    made, shape = make(name)
    graph, _ = run_passes(made)
    kept = frozenset(node.output[0] for node in graph.nodes[part::3])
    if all(node.output[0] in kept for node in graph.nodes):
        pytest.skip("the network has too few nodes for this part to leave any in integers")
    reference = run(to_bytes(graph), "float.onnx", graph, shape, tmp_path)
    ranges = calibrated(graph, shape, tmp_path).ranges
    try:
        data = emit_tflite_int8(graph, ranges, kept)
    except UnsupportedOp:
        assert set(layers(graph)) <= kept
        return
    assert noise_db(reference, run(data, "mixed.tflite", graph, shape, tmp_path)) > 24


def test_keeping_the_noisiest_layer_float_brings_the_answer_closer(tmp_path: Path) -> None:
    graph, shape = make("plain")
    reference = run(to_bytes(graph), "float.onnx", graph, shape, tmp_path)
    ranges = calibrated(graph, shape, tmp_path).ranges
    noise = [
        noise_db(reference, run(emit_tflite_int8(graph, ranges, frozenset(kept)), "mixed.tflite", graph, shape, tmp_path))
        for kept in ([], layers(graph)[:1], layers(graph)[1:])
    ]
    assert max(noise[1:]) > noise[0]


def test_values_cross_once_however_many_read_them(tmp_path: Path) -> None:
    n = Net()
    first = n.node("Relu", n.conv("x", 4, 3, pads=[1, 1, 1, 1]))
    left, right = n.conv(first, 4, 4, kernel=1), n.conv(first, 4, 4, kernel=1)
    graph = n.graph(n.head(n.node("Add", left, right), 4 * 64))
    ops = written(emit_tflite_int8(graph, calibrated(graph, IMAGE, tmp_path).ranges, frozenset({left, right})))
    assert ops["DEQUANTIZE"] == 2  # the one tensor both read, and the output
    assert ops["QUANTIZE"] == 2  # the input, and what the float sum gives to the dense layer
    assert ops["TRANSPOSE"] == 1


def test_what_stands_between_float_nodes_stays_float(tmp_path: Path) -> None:
    graph, _ = make("plain")
    kept = frozenset(layers(graph))
    with pytest.raises(UnsupportedOp, match="no operator to quantize"):
        emit_tflite_int8(graph, calibrated(graph, IMAGE, tmp_path).ranges, kept)


def test_nothing_kept_is_the_file_without_the_option(tmp_path: Path) -> None:
    graph, shape = make("residual")
    ranges = calibrated(graph, shape, tmp_path).ranges
    assert emit_tflite_int8(graph, ranges, frozenset({"no such tensor"})) == emit_tflite_int8(graph, ranges)
