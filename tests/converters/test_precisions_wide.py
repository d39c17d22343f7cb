"""Activations of 16 bits and weights of 8: closer to float than int8, on the kernels of the device's runtime."""

from __future__ import annotations

from pathlib import Path

import pytest
from emitted import calibrated, noise_db, run
from operator_nets import FORMS
from tiny_nets import NETS, make

from converters.calibrate.ranges import Range
from converters.model import to_bytes
from converters.passes.for_tflite import with_expansion
from converters.passes.run import run_passes
from converters.targets.scales import wide_scale
from converters.targets.tflite_int8 import emit_tflite_int8
from converters.targets.tflite_int16 import emit_tflite_int16x8


@pytest.mark.parametrize("name", NETS)
def test_sixteen_bits_are_closer_than_eight(name: str, tmp_path: Path) -> None:
    made, shape = make(name)
    graph, _ = run_passes(made)
    reference = run(to_bytes(graph), "float.onnx", graph, shape, tmp_path)
    ranges = calibrated(graph, shape, tmp_path).ranges
    noise = noise_db(reference, run(emit_tflite_int16x8(graph, ranges), "wide.tflite", graph, shape, tmp_path))
    assert noise > noise_db(reference, run(emit_tflite_int8(graph, ranges), "int8.tflite", graph, shape, tmp_path))
    assert noise > 36


@pytest.mark.parametrize("name", ["HardSwish", "HardSwish spelled", "DepthToSpace", "PRelu", "MatMul two", "attention", "Tile", "anchors"])
def test_operators_without_a_wide_kernel_are_computed_in_float(name: str, tmp_path: Path) -> None:
    form = FORMS[name]
    graph, _ = run_passes(form.graph())
    reference = run(to_bytes(graph), "float.onnx", graph, form.shape, tmp_path)
    whole = with_expansion(graph)
    data = emit_tflite_int16x8(graph, calibrated(whole, form.shape, tmp_path).ranges)
    assert noise_db(reference, run(data, "wide.tflite", graph, form.shape, tmp_path)) > 28


@pytest.mark.parametrize("extent", [(0.0, 0.0), (-3.0, 1.0), (0.5, 2.0)])
def test_the_middle_code_is_zero(extent: Range) -> None:
    scale = wide_scale(extent)
    assert scale.zero_point == 0
    assert 32767 * scale.scale == pytest.approx(max(abs(extent[0]), abs(extent[1]), 1e-9))
