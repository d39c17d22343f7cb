"""The models that the converter is tried on, each with real samples where there are any: the networks and the example of this repository,
one of each other kind made in code, PMML documents, and published models where a folder of them is at hand (EDGE_ASSETS_DIR)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.convert.built import KINDS, built
from benchmarks.nets.digits import DATA, SIZES, images, model
from converters.load import load_source

ROOT = Path(__file__).resolve().parents[2]
ASSETS = Path(os.environ.get("EDGE_ASSETS_DIR", ROOT.parent / "shared" / "assets"))
PMML = ROOT / "tests" / "converters" / "pmml"
CALIBRATE, JUDGE = 64, 128


@dataclass(frozen=True, slots=True)
class Case:
    """A model file and a samples file, of which the first rows are for calibration."""

    name: str
    model: Path
    samples: Path


def cases(folder: Path) -> list[Case]:
    """All that are at hand; what has to be written is written into ``folder``."""
    return [*_own(folder), *_made(folder), *_documents(folder), *_published(folder)]


def nets(folder: Path) -> list[Case]:
    """The three image networks alone, with labels."""
    return [_case(folder, name, model(name), _first(*images(name))) for name in SIZES]


def published(folder: Path) -> list[Case]:
    """Models that others trained, with their data; none where the folder is not at hand."""
    return list(_published(folder))


def _own(folder: Path) -> Iterator[Case]:
    yield from nets(folder)
    with np.load(DATA) as held:
        pixels, labels = held["x"].astype(np.float32), held["y"].astype(np.int64)
        train, test = held["train"], held["test"]
    for path in sorted((ROOT / "examples" / "digits").glob("digits_v*.onnx")):
        yield _case(folder, path.stem, path, _first(pixels[train], labels[train], pixels[test], labels[test]))


def _made(folder: Path) -> Iterator[Case]:
    draw = np.random.default_rng(5)
    for kind, (_, shape) in KINDS.items():
        path = folder / f"{kind}.onnx"
        path.write_bytes(built(kind))
        yield _case(folder, kind, path, (draw.normal(0, 1, (CALIBRATE + JUDGE, *shape)).astype(np.float32), None))


def _documents(folder: Path) -> Iterator[Case]:
    for path in sorted(PMML.glob("*.pmml")):
        rows = np.array(json.loads(path.with_suffix(".json").read_text())["x"], np.float32)
        yield _case(folder, f"{path.stem}.pmml", path, (rows[:, None], None), "x")


def _published(folder: Path) -> Iterator[Case]:
    for file, read in PUBLISHED.items():
        path = ASSETS / file
        if path.is_file():
            rows, labels = read(path.parent)
            count = CALIBRATE + 4 * JUDGE
            yield _case(folder, path.name, path, (rows[:count], None if labels is None else labels[:count]))


def _case(folder: Path, name: str, path: Path, held: tuple[Any, Any], tensor: str = "") -> Case:
    rows, labels = held
    if not tensor:
        graph = load_source(path).graph
        assert graph is not None
        spec = graph.inputs[0]
        tensor, shape = spec.name, tuple(size or 1 for size in spec.shape)
        rows = rows.reshape(len(rows), *shape) if rows[0].size == np.prod(shape) else rows
    given: dict[str, Any] = {tensor: rows} if labels is None else {tensor: rows, "labels": labels}
    samples = folder / f"{name}.npz"
    np.savez(samples, calibrate=np.arange(min(CALIBRATE, len(rows) // 2)), **given)
    return Case(name, path, samples)


def _first(x: Any, y: Any, test: Any, labels: Any) -> tuple[Any, Any]:
    return np.concatenate([x[:CALIBRATE], test[: 4 * JUDGE]]), np.concatenate([y[:CALIBRATE], labels[: 4 * JUDGE]])


def _pictures(folder: Path) -> tuple[Any, Any]:
    """CIFAR-10, pixels 0 to 255; the class is the first letter of a file's name."""
    from PIL import Image

    paths = [*sorted(folder.glob("calib/*.jpg")), *sorted(folder.glob("images/*.jpg"))[::2]]
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB"), np.float32) for path in paths])
    return pixels, np.array([int(path.name[0]) for path in paths])


def _keywords(folder: Path) -> tuple[Any, Any]:
    with np.load(folder / "features_int8.npz") as held:
        return (held["X"].astype(np.float32) - 83) * np.float32(0.5847029089927673), held["y"]


def _spectra(folder: Path) -> tuple[Any, Any]:
    frames = np.fromfile(folder / "normal_id_01_00000000_hist_librosa.bin", "<f4").reshape(-1, 128)
    return np.stack([frames[at : at + 5].ravel() for at in range(len(frames) - 4)]), None


def _bearings(folder: Path) -> tuple[Any, Any]:
    """Log spectra of 64 bands, standardized."""
    with np.load(folder / "test_frames.npz") as held:
        frames, mean, spread = held["frames"], held["mu"], held["sd"]
    frames = frames - frames.mean(1, keepdims=True)
    frames = frames / np.sqrt(np.square(frames).mean(1, keepdims=True)) * np.hanning(frames.shape[1])
    power = np.square(np.abs(np.fft.rfft(frames)))[:, 1:513].reshape(len(frames), 64, 8).mean(2)
    order = np.random.default_rng(0).permutation(len(frames))
    return ((np.log10(power + 1e-12) - mean) / spread).astype(np.float32)[order], None


def _moves(folder: Path) -> tuple[Any, Any]:
    with np.load(folder / "test_windows.npz") as held:
        order = np.random.default_rng(0).permutation(len(held["y"]))
        return held["X"][order], held["y"][order]


def _wines(folder: Path) -> tuple[Any, Any]:
    with np.load(folder / "wine_test.npz") as held:
        return held["X"][:, None], None


PUBLISHED: dict[str, Callable[[Path], tuple[Any, Any]]] = {
    "01_image_cifar10_resnet8/resnet8_float.onnx": _pictures,
    "01_image_cifar10_resnet8/resnet8_float.tflite": _pictures,
    "02_keyword_dscnn/kws_dscnn_float.onnx": _keywords,
    "02_keyword_dscnn/kws_dscnn_float.tflite": _keywords,
    "04_anomaly_toycar_autoencoder/ad01_from_h5.onnx": _spectra,
    "05_vibration_cwru_autoencoder/cwru_ae.onnx": _bearings,
    "06_har_exercise_cnn/har_exercise_cnn.onnx": _moves,
    "06_har_exercise_cnn/har_exercise_cnn_f32.tflite": _moves,
    "07_tabular_sklearn/wine_rf_nozipmap.onnx": _wines,
}
"""How the data beside each file is read, as rows and, where there are any, labels."""
