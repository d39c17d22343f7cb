"""Whatever a manifest says, compiling it is refused by name or gives a function, and that takes any window or refuses it by name; soon, and
without eating the memory."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.bundle.manifest import Step
from edge_agent.errors import BundleError, ModelError
from edge_agent.pipeline.postprocess import POSTPROCESS_OPS, compile_postprocess
from edge_agent.pipeline.preprocess import PREPROCESS_OPS, compile_preprocess
from edge_agent.pipeline.steps_boxes import BOX_KINDS
from edge_agent.values import TensorSpec

pytestmark = pytest.mark.filterwarnings("error")

WORDS = (
    *BOX_KINDS,
    "bilinear",
    "nearest",
    "area",
    "rgb",
    "gray",
    "yuv",
    "hann",
    "log",
    "htk",
    "mel",
    "mse",
    "majority",
    "ema",
    "b",
    "x",
    "",
)
wholes = st.integers(-2, 9) | st.sampled_from([64, 4096, 1 << 20, 1 << 31, 1 << 70])
numbers = wholes | st.floats() | st.sampled_from([1e-300, 3.4028235677973366e38, 1e300, -0.0])
plain = numbers | st.booleans() | st.none() | st.sampled_from(WORDS)
values = plain | st.lists(plain, max_size=4) | st.lists(st.lists(numbers, min_size=2, max_size=4), max_size=3)
KEYS = re.findall(
    r"\w+",
    "input factor offset axis mean std min max epsilon classes shape axes before after value channels size method antialias letterbox "
    "box square to from of window n floor rate_hz n_fft frame hop centre border power n_mels fmin fmax scale norm triangles log n_mfcc "
    "keep dct name kind windows alpha at on off k boxes scores count activation background order anchors maps shapes scales ratios "
    "between variances outputs bins layout iou min_score",
)
arguments = st.dictionaries(st.sampled_from(KEYS), values, max_size=3)
LIKELY: dict[str, dict[str, Any]] = {
    "resize": {"size": [3, 5]},
    "crop": {"square": True},
    "colour": {"to": "gray"},
    "log_mel": {"rate_hz": 16, "n_fft": 4},
    "mfcc": {"rate_hz": 16, "n_fft": 4},
    "one_hot": {"classes": 3},
    "boxes": {"kind": "corners"},
    "smooth": {"windows": 2},
    "hysteresis": {"on": 1, "off": 0},
}


@st.composite
def declared(draw: st.DrawFn, ops: tuple[str, ...]) -> tuple[Step, ...]:
    """Steps with arguments that are likely to be right, some of them made wrong."""
    chosen = draw(st.lists(st.sampled_from(ops), max_size=3))
    return tuple(Step(op, {**LIKELY.get(op, {}), **draw(st.just({}) | arguments)}) for op in chosen)


@settings(max_examples=400, deadline=None)
@given(
    steps=declared(PREPROCESS_OPS),
    shape=st.lists(st.integers(0, 6), max_size=4),
    dtype=st.sampled_from(["float32", "uint8", "int16", "float64"]),
)
def test_preprocessing_is_refused_by_name_or_done(steps: tuple[Step, ...], shape: list[int], dtype: str) -> None:
    window = np.arange(int(np.prod(shape)), dtype=np.float64).reshape(shape).astype(dtype)
    with contextlib.suppress(BundleError, ModelError):
        compile_preprocess(steps, (TensorSpec("x", "int8", (None, 4), 0.5, 3),))(window)


@settings(max_examples=400, deadline=None)
@given(
    steps=declared(POSTPROCESS_OPS),
    rows=st.integers(0, 3),
    fill=st.floats(width=32),
    labels=st.sampled_from([(), ("a",), ("a", "b", "c", "d")]),
)
def test_postprocessing_is_refused_by_name_or_done(steps: tuple[Step, ...], rows: int, fill: float, labels: tuple[str, ...]) -> None:
    outputs = (TensorSpec("b", "float32", (None, 4)), TensorSpec("s", "float32", (None, 4)))
    arrays = {"b": np.full((rows, 4), fill, np.float32), "s": np.full((rows, 4), 0.5, np.float32)}
    with contextlib.suppress(BundleError, ModelError):
        post = compile_postprocess(steps, outputs, labels, (TensorSpec("x", "float32", (None, 4)),))
        for _ in range(2):
            post(arrays, {"x": arrays["s"]}, np.zeros((2, 3), np.uint8))
