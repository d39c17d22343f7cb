"""The step ``boxes``: which of a detector's answers count, and where they lie in the picture that the camera gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_agent.pipeline.anchors import MAX_MAPS, MAX_SHAPES, anchors_from
from edge_agent.pipeline.arguments import Arguments
from edge_agent.pipeline.boxes import apart, surest
from edge_agent.pipeline.detectors import Anchored, Arrays, Detector, Grids, Ready, Yolo
from edge_agent.pipeline.resampling import MAX_SIDE, fitted
from edge_agent.values import TensorSpec

MAX_BOXES = 1000
_ACTIVATIONS = ("none", "sigmoid", "softmax")


@dataclass(frozen=True, slots=True)
class BoxFinder:
    """Finds at most ``most`` boxes of at least ``min_score``. ``outputs`` are the names it reads; ``size`` (height, width) the unit of
    the model's coordinates; ``letterbox`` the (height, width) that the camera's picture was fitted into."""

    detector: Detector
    outputs: tuple[str, ...]
    size: tuple[float, float]
    min_score: float
    iou: float
    most: int
    letterbox: tuple[int, int] | None

    def find(self, arrays: Arrays, frame: tuple[int, ...] | None = None) -> Any:
        """Rows of left, top, right, bottom (shares of the picture, 0 to 1), class, score, the surest first. ``frame`` is the shape of
        the camera's picture, which only a letterbox needs. Raises ValueError for outputs of another form."""
        corners, classes, score = self._apart(arrays)
        corners = corners / [self.size[1], self.size[0], self.size[1], self.size[0]]
        if self.letterbox is not None:
            corners = _out_of(self.letterbox, frame, corners)
        return np.concatenate([np.clip(corners, 0.0, 1.0), classes[:, np.newaxis], score[:, np.newaxis]], axis=1)

    def rows(self, arrays: Arrays) -> Any:
        """As :meth:`find`, but in the model's own units and not cut at the picture's edges."""
        corners, classes, score = self._apart(arrays)
        return np.concatenate([corners, classes[:, np.newaxis], score[:, np.newaxis]], axis=1)

    def _apart(self, arrays: Arrays) -> tuple[Any, Any, Any]:
        score = np.asarray(self.detector.scores(arrays), np.float64)
        sure = surest(score, self.min_score, MAX_BOXES)
        corners = np.asarray(self.detector.corners(arrays, sure), np.float64)
        whole = np.isfinite(corners).all(axis=1)
        sure, corners = sure[whole], corners[whole]
        classes = self.detector.classes(arrays, sure)
        kept = apart(corners, classes, self.iou, self.most)
        return corners[kept], classes[kept], score[sure][kept]


def box_finder(args: Arguments, outputs: tuple[TensorSpec, ...]) -> BoxFinder:
    """As the arguments say. Raises BundleError naming the wrong one."""
    names = tuple(spec.name for spec in outputs)
    detector, read = _KINDS[args.choice("kind", tuple(_KINDS))](args, names)
    size = args.row("size", most=2, default=[1.0, 1.0])
    if len(size) != 2 or min(size) <= 0:
        raise args.bad("size", "must be height and width, above 0")
    return BoxFinder(
        detector,
        read,
        (size[0], size[1]),
        min_score=args.number("min_score", 0.25),
        iou=args.share("iou", 0.45),
        most=args.whole("max", 100, low=1, high=MAX_BOXES),
        letterbox=args.size("letterbox", most=MAX_SIDE) if args.has("letterbox") else None,
    )


def _out_of(letterbox: tuple[int, int], frame: tuple[int, ...] | None, corners: Any) -> Any:
    """From shares of the fitted picture to shares of the camera's."""
    if frame is None or len(frame) < 2:
        raise ValueError("a letterbox can be undone only where the camera's picture is at hand")
    top, left, height, width = fitted((frame[0], frame[1]), letterbox)
    scale = np.array([letterbox[1], letterbox[0]] * 2, np.float64)
    return (corners * scale - [left, top, left, top]) / [width, height, width, height]


_Kind = tuple[Detector, tuple[str, ...]]


def _ready(args: Arguments, names: tuple[str, ...], *, centred: bool) -> _Kind:
    boxes, score = _two(args, names)
    classes, count = (_named(args, key, names) if args.has(key) else "" for key in ("classes", "count"))
    activation, background, swap = _scoring(args)
    read = tuple(name for name in (boxes, score, classes, count) if name)
    return Ready(boxes, score, activation, background, centred, swap, classes, count), read


def _anchored(args: Arguments, names: tuple[str, ...]) -> _Kind:
    boxes, score = _two(args, names)
    activation, background, swap = _scoring(args)
    by = np.array(args.row("variances", most=4, default=[0.1, 0.1, 0.2, 0.2]))
    if by.shape != (4,):
        raise args.bad("variances", "must be four numbers: of x, y, width and height")
    return Anchored(boxes, score, activation, background, anchors_from(args), by, linear=False, swap=swap), (boxes, score)


def _blazeface(args: Arguments, names: tuple[str, ...]) -> _Kind:
    """Anchors of size 1 as MediaPipe makes them; offsets in pixels of ``scale``, the side of the model's picture."""
    boxes, score = _two(args, names)
    activation, background, swap = _scoring(args, "sigmoid")
    by = np.full(4, 1.0 / args.positive("scale", 128.0))
    return Anchored(boxes, score, activation, background, anchors_from(args), by, linear=True, swap=swap), (boxes, score)


def _yolo(args: Arguments, names: tuple[str, ...], *, version: int) -> _Kind:
    output = _named(args, "boxes", names) if args.has("boxes") else names[0]
    return Yolo(output, version), (output,)


def _grids(args: Arguments, names: tuple[str, ...], *, anchored: bool) -> _Kind:
    outputs = args.texts("outputs", most=MAX_MAPS) if args.has("outputs") else names
    missing = [name for name in outputs if name not in names]
    if missing:
        raise args.bad("outputs", f"{missing[0]!r} is not an output of the model; it has {', '.join(names)}")
    anchors = tuple(args.tables("anchors", columns=2, most=MAX_SHAPES)) if anchored else ()
    if anchored and len(anchors) != len(outputs):
        raise args.bad("anchors", f"must be one list of [width, height] for each of the {len(outputs)} outputs")
    bins = 16 if anchored else args.whole("bins", 16, low=1, high=64)
    last = args.choice("layout", ("channels_first", "channels_last"), "channels_first") == "channels_last"
    return Grids(outputs, args.size("size", most=MAX_SIDE), anchors, bins, last), outputs


_KINDS: Mapping[str, Callable[[Arguments, tuple[str, ...]], _Kind]] = {
    "corners": lambda args, names: _ready(args, names, centred=False),
    "centre": lambda args, names: _ready(args, names, centred=True),
    "ssd": _anchored,
    "blazeface": _blazeface,
    "yolov5": lambda args, names: _yolo(args, names, version=5),
    "yolov8": lambda args, names: _yolo(args, names, version=8),
    "yolov5_grid": lambda args, names: _grids(args, names, anchored=True),
    "yolov8_grid": lambda args, names: _grids(args, names, anchored=False),
}

BOX_KINDS = tuple(_KINDS)


def _two(args: Arguments, names: tuple[str, ...]) -> tuple[str, str]:
    """The outputs of boxes and of scores, the first two unless named."""
    if len(names) < 2 and not (args.has("boxes") and args.has("scores")):
        raise args.bad("scores", "this form needs an output of boxes and one of scores")
    boxes = _named(args, "boxes", names) if args.has("boxes") else names[0]
    return boxes, _named(args, "scores", names) if args.has("scores") else names[1]


def _named(args: Arguments, key: str, names: tuple[str, ...]) -> str:
    name = args.text(key)
    if name not in names:
        raise args.bad(key, f"{name!r} is not an output of the model; it has {', '.join(names)}")
    return name


def _scoring(args: Arguments, activation: str = "none") -> tuple[str, int | None, bool]:
    """Activation, background class, and whether coordinates come as y, x."""
    background = args.whole("background", low=0, high=1 << 16) if args.has("background") else None
    return args.choice("activation", _ACTIVATIONS, activation), background, args.choice("order", ("xy", "yx"), "xy") == "yx"
