"""Anchors: the boxes that a detector's answers are relative to, from the arguments of a ``boxes`` step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edge_agent.pipeline.arguments import Arguments

MAX_ANCHORS = 1 << 17
MAX_MAPS = 16
MAX_SHAPES = 64


def anchors_from(args: Arguments) -> Any:
    """Rows of centre x, centre y, width, height as shares of the picture, in the order of the model's answers: map by map, row by row,
    cell by cell. Given as ``anchors``, such rows themselves, or as ``maps`` (rows and columns of each feature map) with either ``scales``
    and ``ratios`` or ``shapes``."""
    if args.has("anchors"):
        return args.table("anchors", columns=4, most=MAX_ANCHORS)
    maps = args.table("maps", columns=2, most=MAX_MAPS)
    if not all(side == int(side) and 1 <= side <= 1024 for side in maps.ravel()):
        raise args.bad("maps", "must be rows and columns of each feature map, whole numbers from 1 to 1024")
    shapes = _given_shapes(args, len(maps)) if args.has("shapes") else _shapes_of_scales(args, len(maps))
    if sum(int(rows * columns) * len(each) for (rows, columns), each in zip(maps, shapes, strict=True)) > MAX_ANCHORS:
        raise args.bad("maps", f"would give more than {MAX_ANCHORS} anchors")
    return np.concatenate([grid(int(rows), int(columns), each) for (rows, columns), each in zip(maps, shapes, strict=True)])


def grid(rows: int, columns: int, shapes: Any) -> Any:
    """Every one of ``shapes`` (rows of width, height) around the centre of every cell."""
    y, x, which = np.meshgrid(np.arange(rows), np.arange(columns), np.arange(len(shapes)), indexing="ij")
    centres = np.stack([(x.ravel() + 0.5) / columns, (y.ravel() + 0.5) / rows], axis=1)
    return np.concatenate([centres, np.asarray(shapes, np.float64)[which.ravel()]], axis=1)


def _given_shapes(args: Arguments, maps: int) -> list[Any]:
    shapes = args.tables("shapes", columns=2, most=MAX_SHAPES)
    if len(shapes) != maps:
        raise args.bad("shapes", f"must be one list of [width, height] for each of the {maps} maps")
    return shapes


def _shapes_of_scales(args: Arguments, maps: int) -> list[Any]:
    """SSD (Liu and others 2016, section 2.2): width s√r and height s/√r for each ratio, and with ``between`` one square more, of the
    geometric mean of this map's scale and the next (1 after the last)."""
    scales, ratios = args.row("scales", most=MAX_MAPS), args.row("ratios", most=MAX_SHAPES)
    between = args.flag("between")
    if len(scales) != maps or min(scales) <= 0:
        raise args.bad("scales", f"must be one number above 0 for each of the {maps} maps")
    if min(ratios) <= 0:
        raise args.bad("ratios", "must be above 0")
    following = [*scales[1:], 1.0]
    return [
        [[scale * math.sqrt(ratio), scale / math.sqrt(ratio)] for ratio in ratios] + [[math.sqrt(scale * after)] * 2] * between
        for scale, after in zip(scales, following, strict=True)
    ]
