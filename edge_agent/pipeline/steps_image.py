"""Steps for pictures (height, width) or (height, width, colours): ``resize``, ``crop``, ``colour``. Bytes stay bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edge_agent.pipeline.arguments import Arguments
from edge_agent.pipeline.resampling import MAX_SIDE, METHODS, Resampler
from edge_agent.pipeline.stage import PICTURE, Stage, check_growth
from edge_agent.pipeline.steps_shape import holding


def resize(args: Arguments) -> Stage:
    size = args.size("size", most=MAX_SIDE)
    method = args.choice("method", METHODS, "bilinear")
    antialias = args.flag("antialias", default=True)
    value = args.narrow("value", 0.0)
    letterbox = args.flag("letterbox")
    resample = Resampler(size, method, antialias=antialias, around=value if letterbox else None)

    def run(x: Any) -> Any:
        colours = picture(x).size // (x.shape[0] * x.shape[1])
        check_growth(max(size[0], x.shape[0]) * size[1] * colours)
        x = _bytes_or_real(x)
        return resample(holding(x, value) if letterbox else x)

    return Stage(run, PICTURE)


def crop(args: Arguments) -> Stage:
    """``size`` from the middle, the largest ``square`` from the middle, or ``box`` (top, left, bottom, right) in pixels."""
    given = [key for key in ("size", "box", "square") if args.has(key)]
    if len(given) != 1:
        raise args.bad("size", "exactly one of size, box and square must be given")
    if given == ["box"]:
        return Stage(_crop_box(args), PICTURE)
    if given == ["square"]:
        if not args.flag("square"):
            raise args.bad("square", "must be true or left out")
        return Stage(lambda x: _middle(x, (min(picture(x).shape[:2]),) * 2), PICTURE)
    size = args.size("size", most=MAX_SIDE)
    return Stage(lambda x: _middle(x, size), PICTURE)


def _crop_box(args: Arguments) -> Callable[[Any], Any]:
    box = args.wholes("box", low=0)
    if len(box) != 4 or box[0] >= box[2] or box[1] >= box[3]:
        raise args.bad("box", "must be top, left, bottom, right, with bottom below top and right beyond left")
    top, left, bottom, right = box

    def run(x: Any) -> Any:
        if bottom > picture(x).shape[0] or right > x.shape[1]:
            raise ValueError(f"the box {list(box)} reaches beyond the picture")
        return x[top:bottom, left:right]

    return run


def _middle(x: Any, size: tuple[int, int]) -> Any:
    down, across = picture(x).shape[0] - size[0], x.shape[1] - size[1]
    if down < 0 or across < 0:
        raise ValueError(f"the picture is smaller than {list(size)}")
    return x[down // 2 : down // 2 + size[0], across // 2 : across // 2 + size[1]]


def picture(x: Any) -> Any:
    """``x`` itself. Raises ValueError when it is no picture."""
    if x.ndim not in (2, 3) or not x.size:
        raise ValueError("a picture has two or three axes: height, width, colours, none of them empty")
    return x


def _bytes_or_real(x: Any) -> Any:
    return x if x.dtype == np.uint8 else np.asarray(x, np.float32)


# Colours. ITU-R BT.601 over the full range (JFIF 1.02, section "Definition of color space").

_TO_YUV = np.array([[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]])
_TO_RGB = np.array([[1.0, 0.0, 1.402], [1.0, -0.344136286, -0.714136286], [1.0, 1.772, 0.0]])
_HALF = np.array([0.0, 128.0, 128.0])
_WORDS = ("rgb", "bgr", "gray", "grey", "yuv")


def colour(args: Arguments) -> Stage:
    start, end = (_plain(args.choice(key, _WORDS, default)) for key, default in (("from", "rgb"), ("to", None)))
    channels = 1 if start == "gray" else 3
    convert = _CONVERSIONS.get((start, end))

    def run(x: Any) -> Any:
        if start == "gray" and picture(x).ndim == 2:
            x = x[:, :, np.newaxis]
        if picture(x).ndim != 3 or x.shape[2] != channels:
            raise ValueError(f"{start} has {channels} colour values a pixel")
        check_growth(x.size // channels * 3)
        return x if convert is None else convert(_bytes_or_real(x))

    return Stage(run, PICTURE)


def _plain(word: str) -> str:
    return "gray" if word == "grey" else word


def _turned(x: Any) -> Any:
    return x[:, :, ::-1]


def _repeated(x: Any) -> Any:
    return np.repeat(x, 3, axis=2)


def _luma(x: Any) -> Any:
    """Y of red, green, blue: bytes in whole numbers of 16 binary places, as Pillow's mode L."""
    if x.dtype != np.uint8:
        return (x @ _TO_YUV[0].astype(np.float32))[:, :, np.newaxis]
    red, green, blue = (np.asarray(x[:, :, at : at + 1], np.uint32) for at in range(3))
    whole = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return whole.astype(np.uint8)


def _mixed(x: Any, matrix: Any, before: Any, after: Any) -> Any:
    mixed = (np.asarray(x, np.float64) - before) @ matrix.T + after
    if x.dtype != np.uint8:
        return mixed.astype(np.float32)
    return np.clip(np.floor(mixed + 0.5), 0, 255).astype(np.uint8)


def _yuv(x: Any) -> Any:
    return _mixed(x, _TO_YUV, 0.0, _HALF)


def _rgb_of_yuv(x: Any) -> Any:
    return _mixed(x, _TO_RGB, _HALF, 0.0)


_CONVERSIONS: Mapping[tuple[str, str], Callable[[Any], Any]] = {
    ("rgb", "bgr"): _turned,
    ("bgr", "rgb"): _turned,
    ("rgb", "gray"): _luma,
    ("bgr", "gray"): lambda x: _luma(_turned(x)),
    ("yuv", "gray"): lambda x: x[:, :, :1],
    ("gray", "rgb"): _repeated,
    ("gray", "bgr"): _repeated,
    ("rgb", "yuv"): _yuv,
    ("bgr", "yuv"): lambda x: _yuv(_turned(x)),
    ("gray", "yuv"): lambda x: _yuv(_repeated(x)),
    ("yuv", "rgb"): _rgb_of_yuv,
    ("yuv", "bgr"): lambda x: _turned(_rgb_of_yuv(x)),
}
"""Pairs that are not here, such as rgb to rgb, change nothing."""
