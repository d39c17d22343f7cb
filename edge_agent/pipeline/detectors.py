"""How detectors say what they found, each form one class: first the score of every box, then class and corners of those that count.

Outputs come as real numbers by name, of one picture. Everything else waits for the scores because few boxes are sure enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edge_agent.pipeline.boxes import corners_of

Arrays = Mapping[str, Any]


class Detector(Protocol):
    """One form of answers. Corners are shares of the picture, or in the units that ``size`` of the step divides."""

    def scores(self, arrays: Arrays) -> Any:
        """The score of every box, (n,). Raises ValueError for outputs of another form."""

    def classes(self, arrays: Arrays, kept: Any) -> Any:
        """The class of the boxes at the places ``kept``."""

    def corners(self, arrays: Arrays, kept: Any) -> Any:
        """Left, top, right, bottom of the boxes at the places ``kept``."""


def strongest(scores: Any, activation: str = "none", background: int | None = None) -> Any:
    """Of each row of class ``scores`` the highest, after ``activation`` (none, sigmoid, softmax); ``background`` is no class."""
    ahead = scores if background is None else _without(scores, background)
    if not ahead.shape[1]:
        raise ValueError("there are no scores of classes")
    best = ahead.max(axis=1).astype(np.float64)
    if activation == "softmax":
        every = np.asarray(scores, np.float64)
        most = every.max(axis=1, keepdims=True)
        return np.exp(best - most[:, 0]) / np.exp(every - most).sum(axis=1)
    return sigmoid(best) if activation == "sigmoid" else best


def class_of(scores: Any, background: int | None = None) -> Any:
    """The place of the highest of each row of ``scores``."""
    if background is None:
        return scores.argmax(axis=1)
    best = _without(scores, background).argmax(axis=1)
    return best + (best >= background)


def _without(scores: Any, background: int) -> Any:
    if background >= scores.shape[1]:
        raise ValueError(f"there is no class {background} that could be the background")
    return np.delete(scores, background, axis=1)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), with the exponential of negative numbers only: no overflow on either side."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def _wide(rows: Any) -> Any:
    return np.asarray(rows, np.float64)


def swapped(rows: Any) -> Any:
    """Columns y, x, ... as x, y, ... and back."""
    return rows[:, [1, 0, 3, 2]]


@dataclass(frozen=True, slots=True)
class Ready:
    """Boxes as they are, an output (…, n, 4), with scores (n,) or (n, classes); or a score and a class each, and how many count."""

    boxes: str
    score: str
    activation: str
    background: int | None
    centred: bool
    swap: bool
    class_output: str = ""
    count: str = ""

    def scores(self, arrays: Arrays) -> Any:
        score = strongest(self._given(arrays), self.activation, self.background)
        return np.where(np.arange(len(score)) < arrays[self.count].reshape(-1)[0], score, -np.inf) if self.count else score

    def classes(self, arrays: Arrays, kept: Any) -> Any:
        if self.class_output:
            return arrays[self.class_output].reshape(-1)[kept].astype(np.intp)
        return class_of(self._given(arrays)[kept], self.background)

    def _given(self, arrays: Arrays) -> Any:
        return arrays[self.score].reshape(arrays[self.boxes].size // 4, -1)

    def corners(self, arrays: Arrays, kept: Any) -> Any:
        rows = _wide(arrays[self.boxes].reshape(-1, 4)[kept])
        rows = swapped(rows) if self.swap else rows
        return corners_of(rows) if self.centred else rows


@dataclass(frozen=True, slots=True)
class Anchored:
    """Offsets from anchors, an output (…, n, 4 or more): ``linear`` as BlazeFace has them (a share of the anchor after division by
    ``by``), else centre and logarithm of the size times variances ``by`` (SSD)."""

    boxes: str
    score: str
    activation: str
    background: int | None
    anchors: Any
    by: Any
    linear: bool
    swap: bool

    def scores(self, arrays: Arrays) -> Any:
        return strongest(self._given(arrays), self.activation, self.background)

    def classes(self, arrays: Arrays, kept: Any) -> Any:
        return class_of(self._given(arrays)[kept], self.background)

    def _given(self, arrays: Arrays) -> Any:
        return arrays[self.score].reshape(len(self.anchors), -1)

    def corners(self, arrays: Arrays, kept: Any) -> Any:
        rows = _wide(arrays[self.boxes].reshape(len(self.anchors), -1)[kept, :4])
        rows = (swapped(rows) if self.swap else rows) * self.by
        near = self.anchors[kept]
        sizes = near[:, 2:] * (rows[:, 2:] if self.linear else np.exp(rows[:, 2:]))
        return corners_of(np.concatenate([near[:, :2] + rows[:, :2] * near[:, 2:], sizes], axis=1))


@dataclass(frozen=True, slots=True)
class Yolo:
    """One output of decoded boxes, centre and size: version 5 (n, 5 + classes) with a score that there is anything; version 8 and later
    (4 + classes, n)."""

    output: str
    version: int

    def scores(self, arrays: Arrays) -> Any:
        rows = self._rows(arrays)
        if self.version >= 8:
            return strongest(rows[:, 4:])
        return strongest(rows[:, 5:]) * rows[:, 4] if rows.shape[1] > 5 else strongest(rows[:, 4:5])

    def classes(self, arrays: Arrays, kept: Any) -> Any:
        rows = self._rows(arrays)[kept]
        return class_of(rows[:, 4 if self.version >= 8 or rows.shape[1] == 5 else 5 :])

    def corners(self, arrays: Arrays, kept: Any) -> Any:
        return corners_of(_wide(self._rows(arrays)[kept, :4]))

    def _rows(self, arrays: Arrays) -> Any:
        array = arrays[self.output]
        array = array[0] if array.ndim == 3 and len(array) == 1 else array
        rows = array.T if self.version >= 8 else array
        if rows.ndim != 2 or rows.shape[1] < 5:
            raise ValueError(f"wants an output of boxes by numbers; this model gives {arrays[self.output].shape}")
        return rows


@dataclass(frozen=True, slots=True)
class Grids:
    """Undecoded heads of YOLO, one output a stride, in the order of ``outputs``, channels first (1, c, rows, columns) or last.

    Version 5 and 7: c is anchors times (5 + classes), anchors in pixels, one table an output; version 8: c is 4 x ``bins`` + classes,
    distances to the four sides as the mean of a softmax over bins ("Generalized Focal Loss", Li and others 2020). ``size`` is the
    model's picture (height, width): what comes out is in pixels of it."""

    outputs: tuple[str, ...]
    size: tuple[int, int]
    anchors: tuple[Any, ...] = ()
    bins: int = 16
    last: bool = False

    def scores(self, arrays: Arrays) -> Any:
        rows = self._given(arrays)
        if not self.anchors or rows.shape[1] == 1:
            return strongest(rows, "sigmoid")
        return strongest(rows[:, 1:], "sigmoid") * sigmoid(_wide(rows[:, 0]))

    def classes(self, arrays: Arrays, kept: Any) -> Any:
        rows = self._given(arrays)[kept]
        return class_of(rows[:, 1:] if self.anchors and rows.shape[1] > 1 else rows)

    def _given(self, arrays: Arrays) -> Any:
        """Rows of the scores of classes, for version 5 after the score that there is anything."""
        return np.concatenate([head[:, 4 if self.anchors else 4 * self.bins :] for head, _ in self._heads(arrays)])

    def corners(self, arrays: Arrays, kept: Any) -> Any:
        heads = self._heads(arrays)
        rows = _wide(np.concatenate([head for head, _ in heads])[kept])
        places = np.concatenate([place for _, place in heads])[kept]
        return self._of_anchors(rows, places) if self.anchors else self._of_bins(rows, places)

    def _of_anchors(self, rows: Any, places: Any) -> Any:
        near = sigmoid(rows[:, :4])
        centres = (2 * near[:, :2] - 0.5 + places[:, :2]) * places[:, 2:4]
        return corners_of(np.concatenate([centres, np.square(2 * near[:, 2:]) * places[:, 4:6]], axis=1))

    def _of_bins(self, rows: Any, places: Any) -> Any:
        bins = rows[:, : 4 * self.bins].reshape(-1, 4, self.bins)
        power = np.exp(bins - bins.max(axis=2, keepdims=True))
        sides = (power * np.arange(self.bins)).sum(axis=2) / power.sum(axis=2)
        centres, strides = places[:, :2] + 0.5, places[:, 2:4]
        return np.concatenate([(centres - sides[:, :2]) * strides, (centres + sides[:, 2:]) * strides], axis=1)

    def _heads(self, arrays: Arrays) -> list[tuple[Any, Any]]:
        """Of each output: rows of one box's numbers, and rows of column, row, stride across, stride down, anchor width, anchor height."""
        return [self._head(arrays[name], at) for at, name in enumerate(self.outputs)]

    def _head(self, array: Any, at: int) -> tuple[Any, Any]:
        array = array[0] if array.ndim == 4 and len(array) == 1 else array
        if array.ndim != 3:
            raise ValueError(f"output {self.outputs[at]} is no grid: {array.shape}")
        cells = array if self.last else array.transpose(1, 2, 0)
        shapes = self.anchors[at] if self.anchors else np.zeros((1, 2))
        least = 5 if self.anchors else 4 * self.bins + 1
        if cells.shape[2] % len(shapes) or cells.shape[2] // len(shapes) < least:
            raise ValueError(f"output {self.outputs[at]} has {cells.shape[2]} numbers a cell, which are not those of this form")
        y, x, which = np.meshgrid(np.arange(cells.shape[0]), np.arange(cells.shape[1]), np.arange(len(shapes)), indexing="ij")
        strides = np.broadcast_to([self.size[1] / cells.shape[1], self.size[0] / cells.shape[0]], (x.size, 2))
        places = np.concatenate([np.stack([x.ravel(), y.ravel()], axis=1), strides, shapes[which.ravel()]], axis=1)
        return cells.reshape(x.size, -1), places
