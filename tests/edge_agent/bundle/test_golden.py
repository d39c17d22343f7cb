"""Golden cases: what passes, what does not, and by how much."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import tiny_answer, tiny_bundle

from edge_agent.bundle.archive import unpack
from edge_agent.bundle.golden import GoldenArrays, compare, load_cases, tensor_bytes, within
from edge_agent.errors import BundleError
from edge_agent.values import DTYPES


def case(expected: Any, atol: float = 0.1, rtol: float = 0.0) -> GoldenArrays:
    return GoldenArrays({}, {"y": np.asarray(expected, np.float32)}, atol, rtol)


def answer(*values: float) -> dict[str, Any]:
    return {"y": np.array(values, np.float32)}


def test_loaded_cases_hold_what_the_model_answers(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "a.edgemodel", cases=3)
    manifest = unpack(bundle.path, tmp_path / "f")
    cases = load_cases(manifest, tmp_path / "f")
    assert len(cases) == 3
    for loaded in cases:
        assert loaded.inputs["x"].dtype == np.float32 and loaded.inputs["x"].shape == (1, 4)
        assert within(loaded, {"y": tiny_answer(loaded.inputs["x"]).astype(np.float32)})


def test_cut_or_missing_file_is_named(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "a.edgemodel")
    manifest = unpack(bundle.path, tmp_path / "f")
    for spoil in (lambda p: p.write_bytes(b"1234"), lambda p: p.unlink()):
        spoil(tmp_path / "f" / "golden/1-y.bin")
        with pytest.raises(BundleError, match=r"golden/1-y\.bin"):
            load_cases(manifest, tmp_path / "f")


def test_too_many_golden_bytes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    manifest = tiny_bundle(tmp_path / "a.edgemodel").manifest
    files = tuple(replace(entry, bytes=1 << 26) if entry.role == "golden" else entry for entry in manifest.files)
    with pytest.raises(BundleError, match="golden tensors"):
        load_cases(replace(manifest, files=files), tmp_path)


def test_error_is_the_largest_difference() -> None:
    assert compare(case([1, 2, 3]), answer(1, 2.5, 2.75)) == 0.5
    assert compare(case([1, 2, 3]), answer(1, 2, 3)) == 0


def test_tolerance_is_absolute_plus_relative() -> None:
    assert within(case([100.0], atol=0.5, rtol=0.01), answer(101.4))
    assert not within(case([100.0], atol=0.5, rtol=0.01), answer(101.6))


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"z": np.zeros(2, np.float32)},
        {"y": np.zeros((1, 2), np.float32)},
        {"y": np.zeros(2, np.float64)},
        {"y": [0.0, 0.0]},
        {"y": np.array([0, np.nan], np.float32)},
        {"y": np.array([0, np.inf], np.float32)},
    ],
)
def test_missing_misshapen_and_not_finite_answers_are_infinitely_wrong(outputs: dict[str, Any]) -> None:
    wanted = case([0.0, 0.0], atol=1e30)
    assert compare(wanted, outputs) == float("inf")
    assert not within(wanted, outputs)


def test_expected_nan_and_infinity_match_themselves_only() -> None:
    wanted = case([np.nan, np.inf, -np.inf])
    assert compare(wanted, answer(np.nan, np.inf, -np.inf)) == 0 and within(wanted, answer(np.nan, np.inf, -np.inf))
    assert not within(wanted, answer(0, np.inf, -np.inf))
    assert not within(wanted, answer(np.nan, 1e30, -np.inf)), "an infinite expectation must not tolerate everything"


def test_integers_are_compared_without_wrapping() -> None:
    wanted = GoldenArrays({}, {"y": np.array([-128], np.int8)}, 1.0, 0.0)
    assert compare(wanted, {"y": np.array([127], np.int8)}) == 255


@given(dtype=st.sampled_from(sorted(DTYPES)), count=st.integers(0, 5))
def test_bytes_are_little_endian_in_c_order(dtype: str, count: int) -> None:
    array = np.arange(count * 2).reshape(2, count).astype(dtype)
    raw = tensor_bytes(np.asfortranarray(array).astype(array.dtype.newbyteorder(">")))
    assert len(raw) == array.size * DTYPES[dtype]
    assert np.array_equal(np.frombuffer(raw, np.dtype(dtype).newbyteorder("<")).reshape(array.shape), array)
