"""Assets whose figure is what was found in pictures: faces as boxes, lines of text as a map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.assets.bundles import Around
from benchmarks.assets.case import Case, Figures, rows
from benchmarks.assets.stand import Stand
from edge_agent.bundle.manifest import Step

Box = tuple[float, float, float, float]
"""Left, top, width, height, as shares of the picture."""

_FACES: dict[str, tuple[Box, ...]] = {
    "face.jpg": ((0.5, 0.199, 0.202, 0.291), (0.258, 0.295, 0.19, 0.274)),
    "grace_hopper.png": ((0.336, 0.247, 0.379, 0.323),),
    "cat.png": (),
    "bird.png": (),
}
"""As MediaPipe 0.10.21 itself finds them."""
_SIDE = 128
_BLAZEFACE = {
    "kind": "blazeface",
    "maps": [[16, 16], [8, 8]],
    "shapes": [[[1.0, 1.0]] * 2, [[1.0, 1.0]] * 6],
    "scale": float(_SIDE),
    "min_score": 0.5,
    "iou": 0.3,
    "boxes": "regressors",
    "scores": "classificators",
}


def faces(stand: Stand, folder: Path) -> Figures:
    found, sizes = _faces_in(stand, folder)
    hits: list[float] = []
    false = 0
    for name, boxes in found.items():
        left = list(_FACES[name])
        for box in boxes:
            whole = _out_of_square(box, *sizes[name])
            best = max(left, key=lambda known: _iou(whole, known), default=None)
            if best is not None and _iou(whole, best) > 0.5:
                left.remove(best)
                hits.append(_iou(whole, best))
            else:
                false += 1
    return {"faces found of 3": len(hits), "false faces": false, "mean IoU with mediapipe boxes": float(np.mean(hits))}


def _faces_in(stand: Stand, folder: Path) -> tuple[dict[str, list[Any]], dict[str, tuple[int, int]]]:
    """Boxes of each photo, as shares of the square it was put into; and the photos' sizes."""
    from PIL import Image

    images = {name: Image.open(folder / "images" / name).convert("RGB") for name in _FACES}
    x = rows(np.stack([_squared(image) for image in images.values()]))
    steps = (Step("scale", {"factor": 1 / 127.5, "offset": -1.0}),)
    lines = stand.stream(folder / "face_detection_short_range.tflite", x, Around(steps, (Step("boxes", _BLAZEFACE),)))
    return {name: line["boxes"] for name, line in zip(images, lines, strict=True)}, {name: image.size for name, image in images.items()}


def _squared(image: Any) -> Any:
    from PIL import Image

    side = max(image.size)
    square = Image.new("RGB", (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return np.asarray(square.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))


def _out_of_square(box: Any, width: int, height: int) -> Box:
    side = max(width, height)
    left, top = (side - width) // 2, (side - height) // 2
    x, y, right, bottom = (box[key] * side for key in ("x0", "y0", "x1", "y1"))
    return (x - left) / width, (y - top) / height, (right - x) / width, (bottom - y) / height


def _iou(a: Box, b: Box) -> float:
    across = max(0.0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    down = max(0.0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    both = across * down
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def text(stand: Stand, folder: Path) -> Figures:
    reference = json.loads((folder / "reference_boxes.json").read_text())
    found, stray, shapes = [], [], set()
    for name, boxes in reference.items():
        picture, shape, size = _page(folder / "images" / name)
        shapes.add(shape)
        around = Around(sizes={"x": picture.shape, "sigmoid_0.tmp_0": (1, 1, *shape)})
        answer = stand.ask(folder / "ch_PP-OCRv4_det_infer.onnx", [{"x": picture}], around)[0]
        page = answer["sigmoid_0.tmp_0"][0, 0]
        covered = np.zeros(shape, bool)
        for box in boxes:
            part = _polygon(box, size, shape)
            found.append(bool((page[part] > 0.3).mean() > 0.2))
            covered |= part
        stray.append(((page > 0.3) & ~covered).mean())
    upright, turned = _orientation(stand, folder)
    return {
        "text boxes of the reference found": float(np.mean(found)),
        "reference boxes": len(found),
        "distinct input shapes used": len(shapes),
        "max share of stray text pixels": max(stray),
        "text_cls.jpg is upside down: P(180 degrees)": upright,
        "the same turned by 180 degrees: P(180)": turned,
    }


def _page(path: Path) -> tuple[Any, tuple[int, int], tuple[int, int]]:
    """A photo as the network takes it (1, 3, height, width), blue first, sides of whole 32s; its height and width, and the photo's size."""
    from PIL import Image

    image = Image.open(path).convert("RGB")
    factor = min(max(1.0, 736 / min(image.size)), 2000 / max(image.size))
    width, height = (max(32, round(side * factor / 32) * 32) for side in image.size)
    return _blue_first(image.resize((width, height), Image.Resampling.BILINEAR)), (height, width), image.size


def _blue_first(image: Any) -> Any:
    x = (np.asarray(image, np.float32)[:, :, ::-1] / 255 - 0.5) / 0.5
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None], np.float32)


def _polygon(corners: list[list[float]], size: tuple[int, int], shape: tuple[int, int]) -> Any:
    """The pixels of a map of ``shape`` that lie in a polygon on a photo of ``size``."""
    from PIL import Image, ImageDraw

    there = [(x * shape[1] / size[0], y * shape[0] / size[1]) for x, y in corners]
    drawn = Image.new("L", (shape[1], shape[0]))
    ImageDraw.Draw(drawn).polygon(there, fill=1)
    return np.asarray(drawn) == 1


def _orientation(stand: Stand, folder: Path) -> tuple[float, float]:
    """How sure the classifier is that a line stands on its head: as it is, and turned."""
    from PIL import Image

    image = Image.open(folder / "images" / "text_cls.jpg").convert("RGB")
    feeds = [{"x": _line(each)} for each in (image, image.rotate(180))]
    upright, turned = stand.ask(folder / "ch_ppocr_mobile_v2.0_cls_infer.onnx", feeds)
    return float(next(iter(upright.values()))[0, 1]), float(next(iter(turned.values()))[0, 1])


def _line(image: Any) -> Any:
    from PIL import Image

    width = min(192, int(np.ceil(48 * image.width / image.height)))
    x = np.zeros((1, 3, 48, 192), np.float32)
    x[:, :, :, :width] = _blue_first(image.resize((width, 48), Image.Resampling.BILINEAR))
    return x


CASES = (Case("08_detect_face_f16", faces), Case("09_text_detect_ppocrv4", text, quick=False))
