"""Pixels with smooth edges: lines, discs and polygons by their distance to each pixel's centre."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from converters.report.drawing import Spot
from converters.report.strokes import EM, outline

Colour = tuple[int, int, int]


class Canvas:
    """``width`` by ``height`` pixels, white; y goes down."""

    def __init__(self, width: int, height: int) -> None:
        self._light = np.full((height, width, 3), 255.0)

    def pixels(self) -> Any:
        """(height, width, 3) uint8."""
        return np.clip(np.rint(self._light), 0, 255).astype(np.uint8)

    def lines(self, strokes: Sequence[Sequence[Spot]], colour: Colour, width: float) -> None:
        """Round ends and joints; strokes that cross are painted once."""
        spots = [spot for stroke in strokes for spot in stroke]
        if not spots:
            return
        left, top, right, bottom = self._box(spots, width / 2)
        if left >= right or top >= bottom:
            return
        cover = np.zeros((bottom - top, right - left))
        for stroke in strokes:
            for piece in _pieces(stroke):
                x0, y0, x1, y1 = self._box(piece, width / 2)
                part = cover[y0 - top : y1 - top, x0 - left : x1 - left]
                np.maximum(part, np.clip(width / 2 + 0.5 - _distance(x0, y0, x1, y1, piece), 0, 1), out=part)
        self._paint(left, top, cover, colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self.lines([[(x, y), (x, y)]], colour, 2 * radius)

    def polygon(self, corners: Sequence[Spot], colour: Colour) -> None:
        """A convex one, corners in either direction."""
        left, top, right, bottom = self._box(corners, 1.0)
        x, y = _centres(left, top, right, bottom)
        middle = (sum(c[0] for c in corners) / len(corners), sum(c[1] for c in corners) / len(corners))
        inside = np.full((bottom - top, right - left), np.inf)
        for a, b in zip(corners, (*corners[1:], corners[0]), strict=True):
            across, down = b[0] - a[0], b[1] - a[1]
            length = math.hypot(across, down) or 1.0
            side = math.copysign(1.0, across * (middle[1] - a[1]) - down * (middle[0] - a[0])) / length
            np.minimum(inside, side * (across * (y - a[1]) - down * (x - a[0])), out=inside)
        self._paint(left, top, np.clip(inside + 0.5, 0, 1), colour)

    def text(
        self,
        spot: Spot,
        text: str,
        size: float,
        colour: Colour,
        *,
        anchor: str = "start",
        bold: bool = False,
        turned: bool = False,
        halo: bool = False,
    ) -> None:
        """``spot`` is on the baseline, at the ``anchor`` (start, middle, end); ``size`` of the font in pixels. A ``halo`` keeps it apart
        from what it lies over."""
        strokes, long = outline(text)
        unit = size / EM
        back = {"start": 0.0, "middle": long / 2, "end": long}[anchor]
        placed = [[_turned(((x - back) * unit, -y * unit), spot, turned) for x, y in stroke] for stroke in strokes]
        width = size * (0.125 if bold else 0.088)
        if halo:
            self.lines(placed, (255, 255, 255), width + 4)
        self.lines(placed, colour, width)

    def _box(self, spots: Sequence[Spot], around: float) -> tuple[int, int, int, int]:
        """Pixels that may be touched, within the canvas."""
        height, width, _ = self._light.shape
        margin = around + 1
        left, right = min(x for x, _ in spots) - margin, max(x for x, _ in spots) + margin
        top, bottom = min(y for _, y in spots) - margin, max(y for _, y in spots) + margin
        x0, y0 = min(max(math.floor(left), 0), width), min(max(math.floor(top), 0), height)
        return x0, y0, max(min(math.ceil(right), width), x0), max(min(math.ceil(bottom), height), y0)

    def _paint(self, left: int, top: int, cover: Any, colour: Colour) -> None:
        part = self._light[top : top + cover.shape[0], left : left + cover.shape[1]]
        part += cover[..., None] * (np.array(colour, np.float64) - part)


def text_width(text: str, size: float) -> float:
    """In pixels."""
    return outline(text)[1] * size / EM


def dashed(spots: Sequence[Spot], on: float, off: float) -> list[tuple[Spot, Spot]]:
    """The line through ``spots`` in dashes of ``on`` pixels, ``off`` pixels apart."""
    found, left = [], 0.0
    for a, b in pairwise(spots):
        length = math.dist(a, b)
        at = left
        while at < length:
            found.append((_between(a, b, max(at, 0.0) / length), _between(a, b, min(at + on, length) / length)))
            at += on + off
        left = at - length
    return found


def _pieces(stroke: Sequence[Spot]) -> list[Sequence[Spot]]:
    """Small strokes (letters) in one go; long ones by segment, so that no large box is computed for nothing."""
    spread = max(max(c) - min(c) for c in zip(*stroke, strict=True))
    if len(stroke) == 1 or spread < 40:
        return [stroke]
    return [list(pair) for pair in pairwise(stroke)]


def _distance(left: int, top: int, right: int, bottom: int, spots: Sequence[Spot]) -> Any:
    """Of every pixel's centre to the nearest segment between neighbours of ``spots``."""
    x, y = _centres(left, top, right, bottom)
    line = np.array(spots if len(spots) > 1 else [*spots, *spots])[:, :, None, None]
    (ax, ay), (across, down) = line[:-1].swapaxes(0, 1), (line[1:] - line[:-1]).swapaxes(0, 1)
    square = np.maximum(across * across + down * down, 1e-12)
    part = np.clip(((x - ax) * across + (y - ay) * down) / square, 0, 1)
    return np.sqrt((np.square(x - ax - part * across) + np.square(y - ay - part * down)).min(axis=0))


def _centres(left: int, top: int, right: int, bottom: int) -> tuple[Any, Any]:
    return np.arange(left, right)[None, :] + 0.5, np.arange(top, bottom)[:, None] + 0.5


def _between(a: Spot, b: Spot, part: float) -> Spot:
    return a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1])


def _turned(offset: Spot, spot: Spot, turned: bool) -> Spot:
    x, y = (offset[1], -offset[0]) if turned else offset
    return spot[0] + x, spot[1] + y
