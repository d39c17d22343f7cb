"""Wild samples are found and named; wide data is left alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_nets import Net, feeds, make

from benchmarks.nets.digits import SIZES, images, model
from converters.calibrate.bias import correct_bias
from converters.calibrate.collect import collect_ranges, float_tensors, instrumented
from converters.calibrate.growing import growing_tensors
from converters.calibrate.histogram import BINS, CUT_COUNTS, Histogram
from converters.calibrate.observe import as_tree, from_tree, observe, plan_for
from converters.calibrate.ranges import Calibration, RangeTable
from converters.calibrate.reject import reject_outliers
from converters.load import load_source
from converters.model import Graph
from converters.passes.run import run_passes
from converters.targets.onnx_qdq import emit_onnx_int8


def table(spread: np.ndarray) -> RangeTable:
    """Samples x tensors of half-widths."""
    names = tuple(f"t{i}" for i in range(spread.shape[1]))
    return RangeTable(names, tuple(range(100, 100 + len(spread))), -spread.astype(np.float32), spread.astype(np.float32))


def calibrated(graph: Graph, folder: Path, samples: list[dict[str, np.ndarray]], calibrator: str = "minmax") -> Calibration:
    path = folder / "m.onnx"
    path.write_bytes(instrumented(graph))
    return observe(path, plan_for(graph), lambda rows: (samples[row] for row in rows), tuple(range(len(samples))), calibrator)


@pytest.mark.parametrize("wild", [(7,), (0, 3, 19, 20, 39)])
def test_wild_samples_are_left_out_and_named(wild: tuple[int, ...]) -> None:
    spread = np.random.default_rng(1).uniform(0.8, 1.2, (100, 6))
    spread[list(wild)] *= 50
    found = reject_outliers(table(spread))
    assert [r.row for r in found.rejected] == [100 + i for i in wild]
    assert all(r.ratio > 30 for r in found.rejected)
    assert found.used == 100 - len(wild)
    assert max(high for _, high in found.ranges.values()) <= 1.2 + 1e-6


def test_a_rare_event_in_one_tensor_is_no_outlier() -> None:
    spread = np.random.default_rng(1).uniform(0.8, 1.2, (100, 6))
    spread[:, 5] = 0.01
    spread[3, 5] = 0.95
    found = reject_outliers(table(spread))
    assert not found.rejected
    assert found.ranges["t5"][1] == pytest.approx(0.95)


def test_wide_data_is_kept_and_said_to_be_wide() -> None:
    spread = np.ones((20, 4))
    spread[:5] *= 40
    found = reject_outliers(table(spread))
    assert not found.rejected
    assert found.used == 20
    assert "5 of 20 calibration samples are far wider" in found.note


def test_ranges_are_those_of_every_tensor(tmp_path: Path) -> None:
    graph, shape = make("dense")
    path = tmp_path / "m.onnx"
    path.write_bytes(instrumented(graph))
    samples = feeds(shape, 4)
    found = collect_ranges(path, float_tensors(graph), samples, (5, 6, 7, 8))
    assert found.names == ("x", "t0", "t1", "t2")
    np.testing.assert_allclose(found.low[:, 0], [feed["x"].min() for feed in samples])
    assert (found.low[:, 2] >= 0).all()  # behind the rectifier
    assert found.low.shape == (4, 4)


def test_a_sample_that_overflows_the_float_model_is_left_out_and_named(tmp_path: Path) -> None:
    graph, _ = make("dense")
    path = tmp_path / "m.onnx"
    path.write_bytes(instrumented(graph))
    rows = [{"x": np.full((1, 12), 3e38 if at == 5 else at / 20, np.float32)} for at in range(20)]
    found = reject_outliers(collect_ranges(path, float_tensors(graph), rows, tuple(range(20))))
    assert [sample.row for sample in found.rejected] == [5]
    assert all(np.isfinite(extent).all() for extent in found.ranges.values())
    assert json.dumps(found.rejected[0].ratio, allow_nan=False)


def test_tensors_that_a_mask_makes_endless_have_no_range(tmp_path: Path) -> None:
    n = Net((1, 4))
    mask = n.constant([[False, False, True]], "bool")
    hidden = n.node("Where", mask, n.constant(-np.inf), n.dense("x", 4, 3))
    graph = n.graph(n.dense(n.node("Softmax", hidden, axis=1), 3, 2))
    samples = [{"x": np.full((1, 4), at, np.float32)} for at in range(6)]
    found = calibrated(graph, tmp_path, samples, "mse")
    assert hidden not in found.ranges
    assert f"infinity or NaN in {hidden}" in found.note
    data = emit_onnx_int8(correct_bias(graph, found), found.ranges)
    session = onnxruntime.InferenceSession(data)
    assert all(np.isfinite(session.run(None, sample)[0]).all() for sample in samples)
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load_from_string(data).graph.node)


@pytest.mark.parametrize("name", SIZES)
def test_in_trained_networks_the_wild_are_found_and_the_good_are_kept(name: str, tmp_path: Path) -> None:
    source = load_source(model(name)).graph
    assert source is not None
    graph = run_passes(source)[0]
    samples = [{"image": image[None]} for image in images(name)[0][:100]]
    clean = calibrated(graph, tmp_path, samples)
    assert not clean.rejected
    for row in (3, 50, 51, 77, 99):
        samples[row] = {"image": samples[row]["image"] * np.float32(50)}
    found = calibrated(graph, tmp_path, samples)
    assert [sample.row for sample in found.rejected] == [3, 50, 51, 77, 99]
    assert set(found.means) == set(clean.means)
    for tensor, mean in found.means.items():  # the wild ones are not in the means either
        np.testing.assert_allclose(mean, clean.means[tensor], atol=0.3 * np.abs(clean.means[tensor]).max() + 1e-6)


def test_only_what_grows_with_the_input_can_tell() -> None:
    n = Net((1, 12))
    clipped = n.node("Clip", n.dense("x", 12, 8), n.constant(0.0), n.constant(6.0))
    open_above = n.node("Clip", n.dense("x", 12, 8), n.constant(0.0))
    gate = n.node("Sigmoid", open_above)
    swish = n.node("Mul", open_above, gate)
    normed = n.node("Div", "x", n.node("ReduceMean", "x", keepdims=1))
    graph = n.graph(n.node("Concat", n.dense(clipped, 8, 2), swish, normed, axis=1))
    found = growing_tensors(graph)
    assert {"x", open_above, swish} <= set(found)
    assert not {clipped, gate, normed} & set(found)


def test_means_are_those_of_every_channel(tmp_path: Path) -> None:
    graph, shape = make("plain")
    samples = feeds(shape, 5)
    found = calibrated(graph, tmp_path, samples)
    np.testing.assert_allclose(found.means["x"], np.mean([s["x"] for s in samples], axis=(0, 1, 3, 4)), rtol=1e-5)
    back = from_tree(json.loads(json.dumps(as_tree(found))), found.means)
    assert back == found


def test_values_too_rare_to_matter_are_cut_off_where_asked_for(tmp_path: Path) -> None:
    n = Net((1, 4000))
    graph = n.graph(n.node("Gemm", n.node("Relu", n.node("Identity", "x")), n.weights(4000, 2)))
    draw = np.random.default_rng(2)
    samples = [{"x": draw.normal(0, 1, (1, 4000)).astype(np.float32)} for _ in range(20)]
    for row in (1, 5, 8):  # too many to be outliers themselves
        samples[row]["x"][0, 0] = 40.0
    plain = calibrated(graph, tmp_path, samples).ranges
    found = calibrated(graph, tmp_path, samples, "percentile").ranges
    assert plain["t0"][1] == plain["x"][1] == 40.0
    assert 3 < found["t0"][1] < 5
    assert -5 < found["t0"][0] < -3
    assert found["t1"] == (0.0, pytest.approx(found["t0"][1], abs=0.1))
    assert found["x"] == plain["x"]  # a range of the model's input is not cut


def rounding_error(values: np.ndarray, extent: tuple[float, float]) -> float:
    """Squares of what is lost by 256 codes; beyond their range they count more."""
    step = (extent[1] - extent[0]) / 255
    codes = np.clip(np.rint((values - extent[0]) / step), 0, 255)
    weight = np.where((values < extent[0]) | (values > extent[1]), CUT_COUNTS, 1.0)
    return float((weight * np.square(codes * step + extent[0] - values)).sum())


@pytest.mark.parametrize("shape", ["long tails", "one side"])
def test_the_least_error_is_less_than_that_of_all_values(shape: str, tmp_path: Path) -> None:
    values = np.random.default_rng(4).laplace(0, 1, 200_000)
    values = np.abs(values) if shape == "one side" else values
    whole = (float(values.min()), float(values.max()))
    histogram = Histogram(whole)
    histogram.add(values)
    found = histogram.least_error()
    assert rounding_error(values, found) < 0.95 * rounding_error(values, whole)
    nearby = ((found[0], 0.9 * found[1]), (found[0], 1.1 * found[1]), (0.9 * found[0], found[1]), (1.1 * found[0], found[1]))
    assert all(rounding_error(values, other) > 0.97 * rounding_error(values, found) for other in nearby)


def test_every_calibrator_makes_working_ranges_of_a_trained_network(tmp_path: Path) -> None:
    source = load_source(model("plain")).graph
    assert source is not None
    graph = run_passes(source)[0]
    samples = [{"image": image[None]} for image in images("plain")[0][:50]]
    plain = calibrated(graph, tmp_path, samples).ranges
    for calibrator in ("percentile", "mse"):
        found = calibrated(graph, tmp_path, samples, calibrator).ranges
        assert set(found) == set(plain)
        assert found != plain
        assert all(0.3 < (found[name][1] - found[name][0]) / (high - low) <= 1.0001 for name, (low, high) in plain.items())


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_a_histogram_gives_ranges_within_what_it_saw(values: list[float], times: int) -> None:
    array = np.array(values, np.float32)
    low, high = float(array.min()), float(array.max())
    histogram = Histogram((low, high))
    for _ in range(times):
        histogram.add(array)
    width = (high - low) / BINS + 1e-6 * max(abs(low), abs(high))
    first, last = histogram.percentile()
    assert low - width <= first <= last <= high + width
    first, last = histogram.least_error()
    assert first <= last
    assert min(low, 0) <= first or first == pytest.approx(low)
    assert last <= max(high, 0) or last == pytest.approx(high)
