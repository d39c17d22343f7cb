"""Wild samples are found and named; wide data is left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_nets import feeds, make

from converters.calibrate.collect import collect_ranges, float_tensors, instrumented
from converters.calibrate.ranges import RangeTable
from converters.calibrate.reject import reject_outliers
from edge_agent.errors import ModelError


def table(spread: np.ndarray) -> RangeTable:
    """Samples x tensors of half-widths."""
    names = tuple(f"t{i}" for i in range(spread.shape[1]))
    return RangeTable(names, tuple(range(100, 100 + len(spread))), -spread.astype(np.float32), spread.astype(np.float32))


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


def test_a_float_model_that_overflows_is_said_to(tmp_path: Path) -> None:
    graph, _ = make("dense")
    path = tmp_path / "m.onnx"
    path.write_bytes(instrumented(graph))
    with pytest.raises(ModelError, match="is not finite on sample row 5"):
        collect_ranges(path, float_tensors(graph), [{"x": np.full((1, 12), 3e38, np.float32)}], (5,))
