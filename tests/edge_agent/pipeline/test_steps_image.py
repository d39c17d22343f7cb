"""Pictures: sizes against a formula written out and against Pillow, crops, colours; bytes stay bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.bundle.manifest import Step
from edge_agent.errors import BundleError, ModelError
from edge_agent.pipeline.preprocess import compile_preprocess
from edge_agent.values import TensorSpec

Image = pytest.importorskip("PIL.Image", reason="Pillow, of the extra test, is the reference for pictures")

pytestmark = pytest.mark.filterwarnings("error")


def run(op: str, args: dict[str, Any], values: Any, shape: tuple[int, ...], dtype: str = "uint8") -> Any:
    return compile_preprocess((Step(op, args),), (TensorSpec("x", dtype, shape),))(values)["x"]


def noise(*shape: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


sides = st.integers(1, 40)


def written_out(picture: list[list[float]], rows: int, columns: int, method: str, *, antialias: bool) -> list[list[float]]:
    """The definition, value by value: a triangle or a box around the new centre, as wide as a new pixel where the picture shrinks."""

    def along(values: list[float], new: int) -> list[float]:
        step = len(values) / new
        if method == "nearest":
            return [values[min(math.floor((at + 0.5) * step + 1e-9), len(values) - 1)] for at in range(new)]
        wide = max(1.0, step) if antialias or method == "area" else 1.0
        made = []
        for at in range(new):
            centre = (at + 0.5) * step
            weights = []
            for old in range(len(values)):
                away = (old + 0.5 - centre) / wide
                inside = -0.5 < away <= 0.5
                weights.append(float(inside) if method == "area" else max(0.0, 1 - abs(away)))
            made.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
        return made

    wide = [along(row, columns) for row in picture]
    return [list(row) for row in zip(*(along(list(column), rows) for column in zip(*wide, strict=True)), strict=True)]


@pytest.mark.parametrize("method", ["bilinear", "nearest", "area"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("old", "new"), [((4, 6), (8, 3)), ((7, 5), (3, 10)), ((9, 9), (4, 4)), ((2, 3), (2, 3)), ((1, 4), (5, 1))])
def test_a_size_is_what_the_formula_says(method: str, antialias: bool, old: tuple[int, int], new: tuple[int, int]) -> None:
    values = np.random.default_rng(3).normal(size=old).astype(np.float32)
    got = run("resize", {"size": list(new), "method": method, "antialias": antialias}, values, new, "float32")
    wanted = written_out(values.tolist(), *new, method, antialias=antialias)
    assert np.allclose(got, wanted, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    old=st.tuples(sides, sides), new=st.tuples(sides, sides), colours=st.sampled_from([1, 3]), method=st.sampled_from(["bilinear", "area"])
)
def test_bytes_are_pillows_bytes_within_one(old: tuple[int, int], new: tuple[int, int], colours: int, method: str) -> None:
    frame = noise(*old, colours)
    filters = {"bilinear": Image.Resampling.BILINEAR, "area": Image.Resampling.BOX}
    wanted = np.asarray(Image.fromarray(frame if colours == 3 else frame[:, :, 0]).resize(new[::-1], filters[method]))
    got = run("resize", {"size": list(new), "method": method}, frame, (*new, colours))
    assert np.abs(got.astype(int) - wanted.reshape(*new, colours)).max() <= 1


@pytest.mark.parametrize("size", [(224, 224), (96, 128), (480, 320), (3, 1000)])
def test_the_nearest_pixel_is_pillows(size: tuple[int, int]) -> None:
    frame = noise(120, 160, 3)
    wanted = np.asarray(Image.fromarray(frame).resize(size[::-1], Image.Resampling.NEAREST))
    assert np.array_equal(run("resize", {"size": list(size), "method": "nearest"}, frame, (*size, 3)), wanted)


def test_a_camera_frame_shrinks_to_pillows_very_bytes() -> None:
    frame = noise(480, 640, 3)
    wanted = np.asarray(Image.fromarray(frame).resize((224, 224), Image.Resampling.BILINEAR))
    assert np.array_equal(run("resize", {"size": [224, 224]}, frame, (1, 224, 224, 3)), wanted[np.newaxis])


@pytest.mark.parametrize("method", ["bilinear", "nearest", "area"])
@pytest.mark.parametrize("old", [(1, 16_384), (16_384, 1), (5000, 3)])
def test_white_stays_white_however_many_pixels_are_summed(method: str, old: tuple[int, int]) -> None:
    for new in ((1, 1), (2, 7)):
        assert (run("resize", {"size": list(new), "method": method}, np.full(old, 255, np.uint8), new) == 255).all()


def test_one_step_serves_pictures_of_changing_size() -> None:
    resize = compile_preprocess((Step("resize", {"size": [8, 8]}),), (TensorSpec("x", "uint8", (8, 8, 3)),))
    for old in ((16, 20), (5, 9), (16, 20)):
        wanted = np.asarray(Image.fromarray(noise(*old, 3)).resize((8, 8), Image.Resampling.BILINEAR))
        assert np.abs(resize(noise(*old, 3))["x"].astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("method", ["bilinear", "nearest", "area"])
@pytest.mark.parametrize(
    ("old", "new"), [((10, 20), (40, 40)), ((30, 10), (15, 15)), ((8, 8), (8, 12)), ((90, 60), (21, 42)), ((7, 3), (13, 13))]
)
def test_a_letterbox_is_the_padded_picture_resized(method: str, old: tuple[int, int], new: tuple[int, int]) -> None:
    frame = noise(*old, 3)
    ratio = min(new[0] / old[0], new[1] / old[1])
    borders = [round((side / ratio - length) / 2) for side, length in zip(new, old, strict=True)]
    padded = np.pad(frame, [(border, border) for border in borders] + [(0, 0)], constant_values=114)
    args = {"size": list(new), "method": method}
    wanted = run("resize", args, padded, (*new, 3))
    got = run("resize", args | {"letterbox": True, "value": 114}, frame, (*new, 3))
    assert np.abs(got.astype(int) - wanted).max() <= 1
    real = run("resize", args | {"letterbox": True, "value": 114}, frame.astype(np.float32), (*new, 3), "float32")
    assert np.allclose(real, run("resize", args, padded.astype(np.float32), (*new, 3), "float32"), atol=1e-3)


def test_a_letterbox_need_not_fall_on_whole_pixels() -> None:
    got = run("resize", {"size": [4, 4], "method": "area", "letterbox": True, "value": 10}, np.full((4, 8), 50, np.uint8), (4, 4))
    assert got.tolist() == [[10] * 4, [50] * 4, [50] * 4, [10] * 4]
    flat = run("resize", {"size": [5, 5], "letterbox": True, "value": 0}, np.full((3, 7), 100, np.float32), (5, 5), "float32")
    assert np.allclose(flat[2], 100) and np.allclose(flat, flat[::-1], atol=1e-4) and 0 <= flat[0, 0] < flat[1, 0] < 100
    assert flat[:, 2].sum() == pytest.approx(100 * 3 * 5 / 7, rel=0.05), "as much of it is the picture as the ratio says"


def test_a_letterbox_value_that_is_no_byte_makes_real_numbers() -> None:
    got = run("resize", {"size": [4, 2], "letterbox": True, "value": -0.5}, np.full((2, 2), 7, np.uint8), (4, 2), "float32")
    assert got[[0, 3]].tolist() == [[-0.5, -0.5]] * 2 and (got[1:3] == 7).all()


def test_infinite_and_missing_values_pass_without_a_warning() -> None:
    frame = np.array([[np.inf, -np.inf, np.nan, 3e38]] * 4, np.float32)
    for args in ({"size": [2, 2]}, {"size": [2, 3], "letterbox": True}, {"size": [8, 8], "method": "area"}):
        run("resize", args, frame, (args["size"][0], args["size"][1]), "float32")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"size": [2, 3]}, (slice(1, 3), slice(1, 4))),
        ({"size": [5, 6]}, (slice(0, 5), slice(0, 6))),
        ({"box": [1, 2, 4, 3]}, (slice(1, 4), slice(2, 3))),
        ({"square": True}, (slice(0, 5), slice(0, 5))),
    ],
)
def test_crops(args: dict[str, Any], expected: tuple[slice, slice]) -> None:
    frame = noise(5, 6, 3)
    wanted = frame[expected]
    assert np.array_equal(run("crop", args, frame, wanted.shape), wanted)


def test_gray_is_pillows_gray_and_bgr_is_rgb_turned() -> None:
    frame = noise(9, 7, 3)
    wanted = np.asarray(Image.fromarray(frame).convert("L"))[:, :, np.newaxis]
    assert np.array_equal(run("colour", {"to": "gray"}, frame, (9, 7, 1)), wanted)
    assert np.array_equal(run("colour", {"from": "bgr", "to": "grey"}, frame[:, :, ::-1], (9, 7, 1)), wanted)
    assert np.array_equal(run("colour", {"to": "bgr"}, frame, (9, 7, 3)), frame[:, :, ::-1])
    assert np.array_equal(run("colour", {"to": "rgb"}, frame, (9, 7, 3)), frame)
    assert np.array_equal(run("colour", {"from": "gray", "to": "rgb"}, frame[:, :, 0], (9, 7, 3)), np.repeat(frame[:, :, :1], 3, axis=2))


def test_yuv_is_jpegs_within_one_and_comes_back() -> None:
    frame = noise(9, 7, 3)
    wanted = np.asarray(Image.fromarray(frame).convert("YCbCr"))
    yuv = run("colour", {"to": "yuv"}, frame, (9, 7, 3))
    assert np.abs(yuv.astype(int) - wanted).max() <= 1
    assert np.abs(run("colour", {"from": "yuv", "to": "rgb"}, yuv, (9, 7, 3)).astype(int) - frame).max() <= 2
    real = run("colour", {"to": "yuv"}, frame.astype(np.float32), (9, 7, 3), "float32")
    back = run("colour", {"from": "yuv", "to": "bgr"}, real, (9, 7, 3), "float32")
    assert np.allclose(back, frame[:, :, ::-1], atol=1e-3)
    assert np.array_equal(run("colour", {"from": "yuv", "to": "gray"}, yuv, (9, 7, 1)), yuv[:, :, :1])


@pytest.mark.parametrize("start", ["rgb", "bgr", "gray", "yuv"])
@pytest.mark.parametrize("end", ["rgb", "bgr", "gray", "yuv"])
def test_every_pair_of_colours_agrees_for_bytes_and_for_real_numbers(start: str, end: str) -> None:
    frame = noise(4, 5, 1 if start == "gray" else 3)
    shape = (4, 5, 1 if end == "gray" else 3)
    whole = run("colour", {"from": start, "to": end}, frame, shape)
    real = run("colour", {"from": start, "to": end}, frame.astype(np.float32), shape, "float32")
    assert np.abs(np.clip(real, 0, 255) - whole).max() <= 0.51 + (start == "yuv")


@pytest.mark.parametrize(
    ("op", "args", "words"),
    [
        ("resize", {}, "preprocess[0].args.size: is missing"),
        ("resize", {"size": [0, 4]}, "preprocess[0].args.size: must be a list of height and width"),
        ("resize", {"size": [4, 1 << 30]}, "preprocess[0].args.size"),
        ("resize", {"size": [4, 4], "method": "cubic"}, "preprocess[0].args.method: 'cubic' is not one of bilinear, nearest, area"),
        ("resize", {"size": [4, 4], "letterbox": 1}, "preprocess[0].args.letterbox: must be true or false"),
        ("crop", {}, "preprocess[0].args.size: exactly one of"),
        ("crop", {"size": [1, 1], "square": True}, "preprocess[0].args.size: exactly one of"),
        ("crop", {"box": [4, 0, 2, 2]}, "preprocess[0].args.box"),
        ("crop", {"square": False}, "preprocess[0].args.square"),
        ("colour", {}, "preprocess[0].args.to: is missing"),
        ("colour", {"to": "hsv"}, "preprocess[0].args.to: 'hsv' is not one of"),
    ],
)
def test_wrong_arguments_are_named_before_any_picture(op: str, args: dict[str, Any], words: str) -> None:
    with pytest.raises(BundleError) as caught:
        run(op, args, noise(4, 4, 3), (4, 4, 3))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("op", "args", "shape", "words"),
    [
        ("resize", {"size": [4, 4]}, (2, 2, 2, 2), "a picture has two or three axes"),
        ("resize", {"size": [4, 4], "letterbox": True}, (0, 4, 3), "none of them empty"),
        ("resize", {"size": [4, 4]}, (4,), "a picture has two or three axes"),
        ("resize", {"size": [4, 4]}, (1, 20_000), "a picture has sides of 1 to 16384"),
        ("resize", {"size": [16_384, 16_384]}, (4, 4), "are allowed"),
        ("resize", {"size": [16_384, 16_384], "letterbox": True}, (4, 4), "are allowed"),
        ("crop", {"size": [9, 2]}, (4, 4, 3), "the picture is smaller than [9, 2]"),
        ("crop", {"box": [0, 0, 2, 5]}, (4, 4, 3), "reaches beyond the picture"),
        ("colour", {"to": "gray"}, (4, 4, 1), "rgb has 3 colour values a pixel"),
        ("colour", {"from": "gray", "to": "rgb"}, (4, 4, 3), "gray has 1 colour values a pixel"),
    ],
)
def test_pictures_that_do_not_fit_are_model_errors(op: str, args: dict[str, Any], shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ModelError) as caught:
        run(op, args, np.zeros(shape, np.uint8), (4, 4, 3))
    assert words in str(caught.value) and f"preprocess[0] ({op})" in str(caught.value)
