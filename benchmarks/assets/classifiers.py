"""Assets whose figure is a share of right classes: pictures, keywords, movements, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.assets.bundles import Around
from benchmarks.assets.case import Case, Figures, pictures, rows, scores
from benchmarks.assets.stand import Stand
from edge_agent.bundle.manifest import Step

ARGMAX = Around(postprocess=(Step("argmax"),))
RAW = Around(preprocess=(Step("raw"),), postprocess=(Step("argmax"),))

_PHOTOS = {
    "bird": ("chickadee",),
    "cat": ("egyptian cat", "tabby", "tiger cat"),
    "dragonfly": ("dragonfly", "damselfly"),
    "parrot": ("macaw",),
    "hot_dog": ("hotdog",),
    "owl": ("great grey owl",),
    "grace_hopper": ("military uniform",),
    "sunflower": ("daisy",),
}


def winners(stand: Stand, model: Path, samples: Any, around: Around = ARGMAX, length: int = 1) -> Any:
    """The class of each window, by number."""
    return scores(stand.stream(model, samples, around, length=length, hop=length)).argmax(axis=1)


def resnet(stand: Stand, folder: Path) -> Figures:
    files = sorted((folder / "images").glob("*.jpg"))
    truth = np.array([int(path.name[0]) for path in files])
    x = rows(pictures(files))
    given = {name: winners(stand, folder / f"resnet8_{name}", x) for name in ("float.tflite", "int8.tflite", "float.onnx")}
    return {
        "images": len(files),
        "float tflite top-1": (given["float.tflite"] == truth).mean(),
        "int8 tflite top-1": (given["int8.tflite"] == truth).mean(),
        "onnx (from .h5) top-1": (given["float.onnx"] == truth).mean(),
        "int8 agrees with float": (given["float.tflite"] == given["int8.tflite"]).mean(),
    }


def keywords(stand: Stand, folder: Path) -> Figures:
    with np.load(folder / "features_int8.npz") as held:
        codes, truth = rows(held["X"]), held["y"]
    real = (codes.astype(np.float32) - 83) * np.float32(0.5847029089927673)
    int8 = winners(stand, folder / "kws_dscnn_int8.tflite", codes, RAW)
    float_ = winners(stand, folder / "kws_dscnn_float.tflite", real)
    return {
        "int8 tflite top-1 (1000 clips)": (int8 == truth).mean(),
        "float tflite top-1": (float_ == truth).mean(),
        "float onnx top-1": (winners(stand, folder / "kws_dscnn_float.onnx", real) == truth).mean(),
        "int8 0.902 onnx top-1": (winners(stand, folder / "kws_dscnn_int8_qdq.onnx", codes, RAW) == truth).mean(),
        "int8 tflite agrees with float": (int8 == float_).mean(),
    }


def mobilenet(stand: Stand, folder: Path) -> Figures:
    words = [line.strip() for line in (folder / "imagenet_labels.txt").read_text().splitlines()]
    found = {}
    for model, side in (("mobilenet_v1_0.25_128_quant", 128), ("mobilenet_v1_0.5_160_quant", 160)):
        files = sorted((folder / "images").iterdir())
        x = rows(np.stack([_middle(path, side) for path in files]))
        given = winners(stand, folder / f"{model}.tflite", x, RAW)
        right = [any(word in words[k].lower() for word in _PHOTOS.get(path.stem, ())) for path, k in zip(files, given, strict=True)]
        found[f"{model} expected class at top-1 (of 8)"] = float(sum(right))
    return found


def _middle(path: Path, side: int) -> Any:
    """The central 87.5 % of a photo, as bytes."""
    from PIL import Image

    image = Image.open(path).convert("RGB")
    edge = int(min(image.size) * 0.875)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    return np.asarray(image.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.BILINEAR))


def exercises(stand: Stand, folder: Path) -> Figures:
    with np.load(folder / "test_windows.npz") as held:
        windows, truth = held["X"].astype(np.float32), held["y"]
    stream = windows.reshape(-1, windows.shape[-1])
    models = {f"{kind} tflite accuracy": f"har_exercise_cnn_{kind}.tflite" for kind in ("f32", "f16", "int8")}
    models["onnx accuracy"] = "har_exercise_cnn.onnx"
    return {
        "windows": len(truth),
        **{said: (winners(stand, folder / file, stream, length=windows.shape[1]) == truth).mean() for said, file in models.items()},
    }


def file_types(stand: Stand, folder: Path) -> Figures:
    said = json.loads((folder / "config.min.json").read_text())
    files = sorted((folder / "files").iterdir())
    x = np.array([_tokens(path.read_bytes(), said) for path in files], np.int32)
    sizes = {"bytes": (1, x.shape[1])}
    around = Around(postprocess=(Step("argmax"),), labels=tuple(said["target_labels_space"]), sizes=sizes)
    lines = stand.stream(folder / "model.onnx", x, around)
    right = [line["label"] == path.name.split("__")[0] for line, path in zip(lines, files, strict=True)]
    return {"files": len(files), "accuracy of the raw label": float(np.mean(right))}


def _tokens(data: bytes, said: dict[str, Any]) -> list[int]:
    """The first and last bytes, padded towards the middle."""
    first, last, padding = said["beg_size"], said["end_size"], said["padding_token"]
    head, tail = data[: said["block_size"]].lstrip()[:first], data[-said["block_size"] :].rstrip()[-last:]
    return [*head, *[padding] * (first - len(head)), *[padding] * (last - len(tail)), *tail]


CASES = (
    Case("01_image_cifar10_resnet8", resnet, quick=False),
    Case("02_keyword_dscnn", keywords, quick=False),
    Case("03_image_mobilenet_v1_uint8", mobilenet),
    Case("06_har_exercise_cnn", exercises),
    Case("14_filetype_magika_int32", file_types),
)
