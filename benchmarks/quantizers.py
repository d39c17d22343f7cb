"""Float ONNX to int8, ours beside ONNX Runtime's own quantizer, on the digits example: clean calibration, and with one bad sample in 200.

Both get the same 200 calibration samples; accuracy, noise and size are of the files, taken by the same code on 797 images neither has seen.
"""

from __future__ import annotations

import io
import logging
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.bundle.archive import read_bundle
from edge_agent.runtimes.choose import load_model_file
from examples.demo.devices import DIGITS
from examples.demo.processes import run_tool

MODEL = DIGITS / "digits_v2.onnx"
SPOILT = 50.0


def quantizers() -> dict[str, object]:
    """Accuracy (share), signal to noise (dB), bytes and seconds by calibration set and quantizer."""
    with np.load(DIGITS / "samples.npz") as samples:
        arrays = {name: samples[name] for name in samples.files}
    clean = arrays["image"].astype(np.float32)
    spoilt = clean.copy()
    spoilt[arrays["calibrate"][7]] *= SPOILT
    with tempfile.TemporaryDirectory(prefix="edge-quant-") as name:
        folder = Path(name)
        return {title: _compare(folder, {**arrays, "image": images}) for title, images in (("clean", clean), ("1 of 200 spoilt", spoilt))}


def _compare(folder: Path, arrays: dict[str, Any]) -> dict[str, dict[str, float]]:
    test = np.setdiff1d(np.arange(len(arrays["image"])), arrays["calibrate"])
    images = (arrays["image"][test] / 16).reshape(-1, 1, 1, 8, 8).astype(np.float32)
    labels = arrays["labels"][test]
    original = _answers(MODEL, images)
    ways: dict[str, Callable[[], Path]] = {
        "edge-convert, ONNX": lambda: _ours(folder, arrays, "onnx"),
        "edge-convert, TFLite": lambda: _ours(folder, arrays, "tflite"),
        "onnxruntime MinMax": lambda: _theirs(folder, arrays, "MinMax"),
        "onnxruntime Percentile": lambda: _theirs(folder, arrays, "Percentile"),
    }
    result = {}
    for name, make in ways.items():
        began = time.monotonic()
        path = make()
        seconds = time.monotonic() - began
        answers = _answers(path, images)
        noise = 10 * np.log10(np.square(original).sum() / np.square(answers - original).sum())
        result[name] = {
            "accuracy": float((answers.argmax(1) == labels).mean()),
            "float_accuracy": float((original.argmax(1) == labels).mean()),
            "sqnr_db": float(noise),
            "bytes": path.stat().st_size,
            "seconds": seconds,
        }
    return result


def _answers(path: Path, images: Any) -> Any:
    runtime = load_model_file(path)
    name = runtime.inputs[0].name
    try:
        return np.stack([next(iter(runtime.run({name: image}).values())).reshape(-1).copy() for image in images])
    finally:
        runtime.close()


def _ours(folder: Path, arrays: dict[str, Any], target: str) -> Path:
    samples, bundle = folder / "samples.npz", folder / f"digits-{target}.edgemodel"
    np.savez(samples, **arrays)
    words: list[str | Path] = ["--target", target, "--scheme", "int8", "--force", "--quiet", "--processing", DIGITS / "processing.toml"]
    run_tool(
        "edge-convert",
        "build",
        MODEL,
        "--profile",
        "rpi4",
        "--samples",
        samples,
        "--name",
        "digits",
        "--version",
        "1",
        "-o",
        bundle,
        *words,
        show=False,
    )
    manifest, files = read_bundle(bundle)
    path = folder / f"ours.{target}"
    path.write_bytes(files[manifest.model_file.path])
    return path


def _theirs(folder: Path, arrays: dict[str, Any], method: str) -> Path:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rows = iter((arrays["image"][arrays["calibrate"]] / 16).reshape(-1, 1, 1, 8, 8).astype(np.float32))

        def get_next(self) -> dict[str, Any] | None:
            row = next(self._rows, None)
            return None if row is None else {"image": row}

    logging.getLogger().setLevel(logging.ERROR)  # its advice to pre-process first changes nothing on this model
    path = folder / f"theirs-{method}.onnx"
    # its best settings for this processor: unsigned activations, signed weights, one scale a channel
    with redirect_stdout(io.StringIO()):
        quantize_static(
            str(MODEL),
            str(path),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=getattr(CalibrationMethod, method),
        )
    return path


def lines(figures: dict[str, object]) -> list[str]:
    text = [f"  {'calibration':17}{'quantizer':24}{'accuracy':>10}{'(float)':>10}{'noise dB':>10}{'kB':>8}{'s':>7}"]
    for title, ways in figures.items():
        assert isinstance(ways, dict)
        text += [
            f"  {title:17}{name:24}{100 * w['accuracy']:9.2f}%{100 * w['float_accuracy']:9.2f}%{w['sqnr_db']:10.1f}"
            f"{w['bytes'] / 1e3:8.1f}{w['seconds']:7.1f}"
            for name, w in ways.items()
        ]
    return [*text, "  (our seconds hold proof, gate, golden inputs and report besides)"]
