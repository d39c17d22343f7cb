"""Writing where one is told, and bytes that stay bytes: always the very same answer as the long way round."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_agent.bundle.manifest import Step
from edge_agent.errors import ModelError
from edge_agent.pipeline.preprocess import compile_preprocess
from edge_agent.values import DTYPES, TensorSpec

pytestmark = pytest.mark.filterwarnings("error")

FRAME = np.random.default_rng(2).integers(0, 256, (4, 6, 3)).astype(np.uint8)
numbers = st.floats(-10, 10, width=32)
steps = st.one_of(
    st.builds(lambda f, o: Step("scale", {"factor": f, "offset": o}), numbers, numbers),
    st.builds(lambda m, s: Step("normalize", {"mean": m, "std": s or 1.0}), numbers, numbers),
    st.builds(lambda a, b: Step("clip", {"min": min(a, b), "max": max(a, b)}), numbers, numbers),
    st.just(Step("scale", {"factor": [0.5, 1.0, 2.0]})),
    st.just(Step("standardise", {})),
    st.just(Step("select", {"channels": [2, 1, 0]})),
    st.just(Step("raw", {})),
    st.just(Step("none", {})),
)
specs = st.builds(
    lambda dtype, scale, zero: TensorSpec("x", dtype, (1, 4, 6, 3), scale, zero if scale else None),
    st.sampled_from(sorted(DTYPES)),
    st.none() | st.floats(0.01, 4),
    st.integers(0, 100),
)
frames = arrays(np.uint8, (4, 6, 3)) | arrays(np.float32, (4, 6, 3), elements=st.floats(width=32)) | arrays(np.int16, (4, 6, 3))


@settings(max_examples=150)
@given(chain=st.lists(steps, max_size=4), spec=specs, frame=frames)
def test_given_arrays_are_filled_with_what_would_be_returned(chain: list[Step], spec: TensorSpec, frame: Any) -> None:
    preprocess = compile_preprocess(tuple(chain), (spec,))
    wanted = preprocess(frame)["x"]
    out = {"x": np.empty(wanted.shape, wanted.dtype)}
    assert preprocess(frame, out)["x"] is out["x"]
    assert np.array_equal(out["x"], wanted, equal_nan=spec.dtype.startswith("float"))


@settings(max_examples=150)
@given(chain=st.lists(steps, max_size=4), spec=specs, frame=arrays(np.uint8, (4, 6, 3)))
def test_bytes_give_what_the_same_numbers_as_float32_give(chain: list[Step], spec: TensorSpec, frame: Any) -> None:
    preprocess = compile_preprocess(tuple(chain), (spec,))
    long_way = preprocess(frame.astype(np.float32))["x"]
    assert np.array_equal(preprocess(frame)["x"], long_way, equal_nan=spec.dtype.startswith("float"))


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "uint16", "int8", "bool"])
def test_any_element_type_is_taken(dtype: str) -> None:
    values = (FRAME % 2).astype(dtype)
    for wanted in ("float32", "uint8", "int64"):
        got = compile_preprocess((Step("scale", {"factor": 2}),), (TensorSpec("x", wanted, FRAME.shape),))(values)["x"]
        assert got.dtype == wanted and np.array_equal(got, (FRAME % 2) * 2)


def test_pixels_reach_a_byte_input_untouched_and_uncopied() -> None:
    shape = (1, 4, 6, 3)
    for spec, chain in [(TensorSpec("x", "uint8", shape), ()), (TensorSpec("x", "uint8", shape, 0.25, 9), (Step("raw"),))]:
        got = compile_preprocess(chain, (spec,))(FRAME)["x"]
        assert np.array_equal(got[0], FRAME) and np.shares_memory(got, FRAME)


def test_raw_values_are_codes_whatever_the_scale_and_saturate() -> None:
    spec = TensorSpec("x", "int8", (4,), 0.5, 3)
    raw = compile_preprocess((Step("raw"),), (spec,))
    assert raw(np.array([[-200, -1.5, 0.4, 127]], np.float32))["x"].tolist() == [-128, -2, 0, 127]
    assert raw(np.array([[0, 1, 127, 255]], np.uint8))["x"].tolist() == [0, 1, 127, 127]
    inputs = (spec, TensorSpec("y", "int8", (4,), 0.5, 3))
    both = compile_preprocess((Step("raw", {"input": "x"}),), inputs)(np.array([[1, 2, 3, 4]], np.float32))
    assert both["x"].tolist() == [1, 2, 3, 4] and both["y"].tolist() == [5, 7, 9, 11]


def test_a_byte_look_up_goes_through_moves_and_crops() -> None:
    chain = (
        Step("crop", {"size": [2, 2]}),
        Step("scale", {"factor": 1 / 255}),
        Step("transpose", {"axes": [2, 0, 1]}),
        Step("clip", {"max": 0.5}),
    )
    spec = TensorSpec("x", "int8", (1, 3, 2, 2), 1 / 255, -128)
    wanted = np.minimum(FRAME[1:3, 2:4].transpose(2, 0, 1).astype(int), 128) - 128
    assert np.abs(compile_preprocess(chain, (spec,))(FRAME)["x"][0].astype(int) - wanted).max() <= 1


def test_padding_with_what_is_no_byte_leaves_the_bytes() -> None:
    chain = (Step("pad", {"before": [1, 0, 0], "after": [0, 0, 0], "value": 0.5}), Step("scale", {"factor": 2}))
    got = compile_preprocess(chain, (TensorSpec("x", "uint8", (5, 6, 3)),))(FRAME)["x"]
    assert (got[0] == 1).all() and np.array_equal(got[1:], np.minimum(FRAME.astype(int) * 2, 255))


def test_wrong_arrays_to_write_into_are_named() -> None:
    preprocess = compile_preprocess((), (TensorSpec("x", "uint8", FRAME.shape),))
    with pytest.raises(ModelError, match="input x: there is no array to write it into"):
        preprocess(FRAME, {})
    with pytest.raises(ModelError, match=r"input x: the array to write into has shape \(3,\)"):
        preprocess(FRAME, {"x": np.empty(3, np.uint8)})


def test_an_empty_window_is_a_model_error() -> None:
    for dtype in ("float32", "int8", "int64"):
        with pytest.raises(ModelError, match="gives 0 values"):
            compile_preprocess((), (TensorSpec("x", dtype, (3,), 1.0, 0),))(np.zeros((0, 3), np.float32))


def test_lists_of_numbers_fit_windows_of_changing_shape() -> None:
    preprocess = compile_preprocess(
        (Step("scale", {"factor": [1, 2, 3]}), Step("reshape", {"shape": [-1, 3]}), Step("select", {"channels": [0], "axis": 0})),
        (TensorSpec("x", "float32", (3,)),),
    )
    for rows in (2, 5, 2):
        assert preprocess(np.ones((rows, 3), np.float32))["x"].tolist() == [1, 2, 3]
