"""Preprocessing: every word, every mistake by name, and the last cast to what the model declares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.bundle.manifest import Step
from edge_agent.errors import BundleError, ModelError
from edge_agent.pipeline.preprocess import PREPROCESS_OPS, compile_preprocess
from edge_agent.pipeline.stage import MAX_VALUES
from edge_agent.values import DTYPES, TensorSpec

pytestmark = pytest.mark.filterwarnings("error")

WINDOW = np.arange(6, dtype=np.float32).reshape(2, 3)


def run(steps: list[Step], shape: tuple[int | None, ...], values: Any = WINDOW, **spec: Any) -> Any:
    tensor = TensorSpec("x", spec.pop("dtype", "float32"), shape, **spec)
    return compile_preprocess(tuple(steps), (tensor,))(values)["x"]


def test_no_steps_only_give_shape_and_dtype() -> None:
    result = run([], (None, 2, 3))
    assert result.shape == (1, 2, 3) and result.dtype == np.float32 and result.flags.c_contiguous


@pytest.mark.parametrize(
    ("op", "args", "shape", "expected"),
    [
        ("scale", {"factor": 2, "offset": 1}, (6,), [1, 3, 5, 7, 9, 11]),
        ("scale", {"factor": [1, 10, 100]}, (6,), [0, 10, 200, 3, 40, 500]),
        ("scale", {"factor": [1, 10], "axis": 0}, (6,), [0, 1, 2, 30, 40, 50]),
        ("normalize", {"mean": 1, "std": 0.5}, (6,), [-2, 0, 2, 4, 6, 8]),
        ("normalize", {"mean": [0, 1, 2], "std": [1, 2, 4]}, (6,), [0, 0, 0, 3, 1.5, 0.75]),
        ("clip", {"min": 1, "max": 4}, (6,), [1, 1, 2, 3, 4, 4]),
        ("clip", {"max": 4}, (6,), [0, 1, 2, 3, 4, 4]),
        ("reshape", {"shape": [3, -1]}, (3, 2), [[0, 1], [2, 3], [4, 5]]),
        ("transpose", {"axes": [1, 0]}, (3, 2), [[0, 3], [1, 4], [2, 5]]),
        ("pad", {"before": [0, 1], "after": [1, 0], "value": 9}, (3, 4), [[9, 0, 1, 2], [9, 3, 4, 5], [9, 9, 9, 9]]),
        ("select", {"channels": [2, 0]}, (2, 2), [[2, 0], [5, 3]]),
        ("select", {"channels": [1], "axis": 0}, (1, 3), [[3, 4, 5]]),
        ("none", {}, (2, 3), WINDOW.tolist()),
        ("raw", {}, (2, 3), WINDOW.tolist()),
        ("standardise", {}, (6,), ((np.arange(6) - 2.5) / np.sqrt(35 / 12)).astype(np.float32).tolist()),
        ("standardize", {"axis": 0}, (2, 3), [[-1, -1, -1], [1, 1, 1]]),
        ("standardise", {"axis": 0, "epsilon": 3}, (2, 3), [[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]]),
        ("one_hot", {"classes": 2}, (12,), [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("constant", {"value": 16000}, (), 16000),
        ("constant", {"value": [1, 2]}, (1, 2), [[1, 2]]),
    ],
)
def test_every_word_does_what_the_document_says(op: str, args: dict[str, Any], shape: tuple[int, ...], expected: Any) -> None:
    result = run([Step(op, args)], shape)
    assert result.tolist() == expected and result.flags.c_contiguous


def test_every_word_is_tested_above_or_in_a_file_of_its_own() -> None:
    above = {"scale", "normalize", "clip", "reshape", "transpose", "pad", "select", "none", "raw", "standardise", "standardize", "one_hot"}
    assert set(PREPROCESS_OPS) == above | {"constant"} | {"resize", "crop", "colour"} | {"fft", "log_mel", "mfcc"}


def test_steps_run_in_order() -> None:
    steps = [Step("scale", {"offset": -1}), Step("clip", {"min": 0}), Step("scale", {"factor": 10})]
    assert run(steps, (6,)).tolist() == [0, 0, 10, 20, 30, 40]


def test_images_become_channels_first() -> None:
    image = np.arange(2 * 2 * 3, dtype=np.float32).reshape(1, 12)
    steps = [
        Step("reshape", {"shape": [1, 2, 2, 3]}),
        Step("transpose", {"axes": [0, 3, 1, 2]}),
        Step("normalize", {"std": [1, 2, 4], "axis": 1}),
    ]
    result = run(steps, (None, 3, 2, 2), image)
    assert np.array_equal(result, image.reshape(1, 2, 2, 3).transpose(0, 3, 1, 2) / np.array([1, 2, 4], np.float32).reshape(1, 3, 1, 1))
    assert result.flags.c_contiguous


@pytest.mark.parametrize(
    ("op", "args", "words"),
    [
        ("blur", {}, "preprocess[1].op: 'blur' is not one of"),
        ("scale", {"faktor": 2}, "preprocess[1].args.faktor: is not known"),
        ("scale", {"factor": "2"}, "preprocess[1].args.factor"),
        ("scale", {"factor": True}, "preprocess[1].args.factor"),
        ("scale", {"factor": []}, "preprocess[1].args.factor"),
        ("scale", {"factor": [1, None]}, "preprocess[1].args.factor"),
        ("scale", {"factor": float("nan")}, "preprocess[1].args.factor"),
        ("scale", {"factor": 10**400}, "preprocess[1].args.factor"),
        ("scale", {"factor": 1e300}, "beyond the range of float32"),
        ("normalize", {"std": [1, 0, 1]}, "preprocess[1].args.std: must not be 0"),
        ("clip", {"min": 2, "max": 1}, "preprocess[1].args.min"),
        ("clip", {"max": 1e39}, "preprocess[1].args.max: is beyond the range of float32"),
        ("pad", {"before": [1, 1], "after": [1, 1], "value": -1e39}, "preprocess[1].args.value: is beyond the range of float32"),
        ("reshape", {}, "preprocess[1].args.shape: is missing"),
        ("reshape", {"shape": [0, 2]}, "preprocess[1].args.shape"),
        ("reshape", {"shape": [-1, -1]}, "preprocess[1].args.shape"),
        ("reshape", {"shape": [2.0]}, "preprocess[1].args.shape"),
        ("transpose", {"axes": [0, 0]}, "preprocess[1].args.axes"),
        ("transpose", {"axes": [1, 2]}, "preprocess[1].args.axes"),
        ("pad", {"before": [1], "after": [1, 2]}, "preprocess[1].args.before"),
        ("pad", {"before": [-1], "after": [1]}, "preprocess[1].args.before"),
        ("select", {"channels": [-1]}, "preprocess[1].args.channels"),
        ("standardise", {"epsilon": 0}, "preprocess[1].args.epsilon: must be greater than 0"),
        ("one_hot", {}, "preprocess[1].args.classes: is missing"),
        ("one_hot", {"classes": 1 << 20}, "preprocess[1].args.classes: must be a whole number, 1 or more, at most 65536"),
        ("scale", {"input": "z"}, "preprocess[1].args.input: 'z' is not an input of the model; it has x"),
        ("scale", {"input": 1}, "preprocess[1].args.input"),
    ],
)
def test_wrong_steps_are_refused_before_any_window(op: str, args: dict[str, Any], words: str) -> None:
    with pytest.raises(BundleError) as caught:
        run([Step("none"), Step(op, args)], (2, 3))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("step", "shape", "words"),
    [
        (Step("none"), (5,), "gives 6 values in shape (2, 3), the model needs 5"),
        (Step("scale", {"factor": [1, 2]}), (6,), "preprocess[0] (scale): does not fit an array of shape (2, 3)"),
        (Step("scale", {"factor": [1, 2], "axis": 5}), (6,), "preprocess[0] (scale)"),
        (Step("reshape", {"shape": [4]}), (6,), "preprocess[0] (reshape)"),
        (Step("transpose", {"axes": [2, 1, 0]}), (6,), "preprocess[0] (transpose)"),
        (Step("select", {"channels": [3]}), (6,), "preprocess[0] (select)"),
        (Step("pad", {"before": [1], "after": [1]}), (6,), "preprocess[0] (pad)"),
    ],
)
def test_windows_that_do_not_fit_are_model_errors(step: Step, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ModelError) as caught:
        run([step], shape)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "step",
    [
        Step("pad", {"before": [1 << 31, 0], "after": [1 << 31, 0]}),
        Step("pad", {"before": [MAX_VALUES, 0], "after": [0, 0]}),
        Step("scale", {"factor": [1.0] * 100_000}),
    ],
)
def test_no_step_can_eat_the_memory(step: Step) -> None:
    with pytest.raises(ModelError):
        run([step], (6,))


def test_selecting_again_and_again_is_bounded() -> None:
    steps = [Step("select", {"channels": [0] * 4096, "axis": 0}), Step("select", {"channels": [0] * 4096, "axis": 1})]
    with pytest.raises(ModelError, match=r"preprocess\[1\].*allowed"):
        run(steps, (6,))


def test_two_free_dimensions_are_refused() -> None:
    with pytest.raises(BundleError, match="more than one free dimension"):
        run([], (None, None, 3))


def test_several_inputs_take_their_own_steps() -> None:
    inputs = (TensorSpec("a", "float32", (2, 1)), TensorSpec("b", "int32", (4,)))
    steps = (
        Step("scale", {"factor": 2}),
        Step("select", {"channels": [0], "input": "a"}),
        Step("select", {"channels": [1, 2], "input": "b"}),
    )
    result = compile_preprocess(steps, inputs)(WINDOW)
    assert result["a"].tolist() == [[0], [6]]
    assert result["b"].tolist() == [2, 4, 8, 10] and result["b"].dtype == np.int32


def test_quantized_inputs_are_rounded_and_saturate() -> None:
    values = np.array([[-100, -1, 0, 0.24, 0.26, 100]], np.float32)
    result = run([], (1, 6), values, dtype="int8", scale=0.5, zero_point=3)
    assert result.dtype == np.int8 and result.tolist() == [[-128, 1, 3, 3, 4, 127]]


def test_missing_readings_become_real_zero_in_integers() -> None:
    values = np.array([[np.nan, np.inf, -np.inf]], np.float32)
    assert run([], (3,), values, dtype="uint8", scale=1.0, zero_point=7).tolist() == [7, 255, 0]


@given(
    dtype=st.sampled_from(sorted(DTYPES)),
    values=st.lists(st.floats(width=32) | st.sampled_from([3e38, -3e38, 2.0**63, 2.0**31, -(2.0**63), 255.5]), min_size=1, max_size=6),
)
def test_casts_never_wrap_around(dtype: str, values: list[float]) -> None:
    array = np.array([values], np.float32)
    result = run([], (len(values),), array, dtype=dtype)
    with np.errstate(over="ignore"):
        assert result.dtype == np.dtype(dtype)
        if result.dtype.kind in "iu":
            limits = np.iinfo(dtype)
            for got, real in zip(result.tolist(), array[0].tolist(), strict=True):
                wanted = 0 if np.isnan(real) else min(max(round(max(min(real, 2.0**70), -(2.0**70))), limits.min), limits.max)
                assert got == wanted
        elif result.dtype.kind == "f":
            assert np.array_equal(result, array[0].astype(dtype), equal_nan=True)


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_a_single_value_stays_a_single_value(dtype: str) -> None:
    feed = compile_preprocess((), (TensorSpec("gain", dtype, ()),))(np.full((1, 1), 2.0, np.float32))
    assert feed["gain"].shape == ()
    assert feed["gain"].dtype == dtype
