"""Published models with real data, where a folder of them is at hand (EDGE_ASSETS_DIR, or ../shared/assets beside the repository)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.__main__ import main
from edge_agent.bundle.archive import read_manifest, unpack
from edge_agent.bundle.golden import load_cases, within
from edge_agent.runtimes.choose import load_runtime

ROOT = Path(__file__).parents[2]
ASSETS = Path(os.environ.get("EDGE_ASSETS_DIR", ROOT.parent / "shared" / "assets"))


def images(folder: Path) -> dict[str, Any]:
    """CIFAR-10: half of the images, the class is the first letter of a file's name."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed, which reads the images")
    calibration, judged = sorted(folder.glob("calib/*.jpg")), sorted(folder.glob("images/*.jpg"))[::2]
    paths = [*calibration, *judged]
    return {
        "input": np.stack([np.asarray(image.open(path).convert("RGB")) for path in paths]),
        "labels": [int(path.name[0]) for path in paths],
        "calibrate": np.arange(len(calibration)),
    }


def keywords(folder: Path) -> dict[str, Any]:
    """Speech Commands features, int8 with the published scale."""
    with np.load(folder / "features_int8.npz") as held:
        return {"input_1": (held["X"].astype(np.float32) - 83) * np.float32(0.5847029089927673), "labels": held["y"]}


def spectra(folder: Path) -> dict[str, Any]:
    """Windows of five frames of 128 bands of one recording."""
    frames = np.fromfile(folder / "normal_id_01_00000000_hist_librosa.bin", "<f4").reshape(-1, 128)
    return {"input": np.stack([frames[i : i + 5].ravel() for i in range(len(frames) - 4)])}


CASES = {
    "resnet8": ("01_image_cifar10_resnet8", "resnet8_float.onnx", images, 20.0),
    "ds-cnn": ("02_keyword_dscnn", "kws_dscnn_float.onnx", keywords, 28.0),
    "autoencoder": ("04_anomaly_toycar_autoencoder", "ad01_from_h5.onnx", spectra, 40.0),
}


@pytest.mark.parametrize("name", CASES)
def test_published_models_keep_their_quality_in_int8(name: str, tmp_path: Path) -> None:
    folder, model, read, sqnr_db = CASES[name]
    if not (ASSETS / folder / model).is_file():
        pytest.skip(f"{ASSETS / folder} is not there; set EDGE_ASSETS_DIR")
    np.savez(tmp_path / "s.npz", **read(ASSETS / folder))
    out = tmp_path / "m.edgemodel"
    options = ["--profile", "rpi4", "--samples", str(tmp_path / "s.npz"), "--name", "m", "--version", "1", "-o", str(out), "-q"]
    assert main(["build", str(ASSETS / folder / model), *options, "--target", "tflite", "--scheme", "int8", "--force"]) == 0
    quality = read_manifest(out).quality
    assert quality["sqnr_db"] > sqnr_db
    assert quality["drop"] is None or quality["drop"] <= 0.01
    assert quality["model_bytes"] < quality["source_bytes"]


@pytest.mark.parametrize("model", ["trained_lstm.tflite", "trained_lstm_int8.tflite"])
def test_a_recurrent_model_starts_each_window_anew(model: str, tmp_path: Path) -> None:
    """Ten handwritten digits, all of them right when no state is carried from one to the next (nine otherwise)."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed, which reads the images")
    folder = ASSETS / "12_awkward_models" / "tflite"
    if not (folder / model).is_file():
        pytest.skip(f"{folder} is not there; set EDGE_ASSETS_DIR")
    digits = [np.asarray(image.open(folder / f"sample{k}.png"), np.float32) / 255 for k in range(10)]
    np.savez(tmp_path / "s.npz", window=np.stack(digits), labels=np.arange(10))
    out = tmp_path / "m.edgemodel"
    options = ["--profile", "rpi4", "--samples", str(tmp_path / "s.npz"), "--name", "m", "--version", "1", "-o", str(out), "-q"]
    assert main(["build", str(folder / model), *options]) == 0
    assert read_manifest(out).quality["accuracy"] == 1.0
    manifest = unpack(out, tmp_path / "u")
    runtime = load_runtime(manifest, tmp_path / "u")
    assert all(within(case, runtime.run(case.inputs)) for case in reversed(load_cases(manifest, tmp_path / "u")))
