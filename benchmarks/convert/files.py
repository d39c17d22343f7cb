"""The model files that are compared: ours, as ``edge-convert build`` packs them, and ONNX Runtime's quantizer's; and how good they are."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.nets.digits import images
from edge_agent.bundle.archive import read_bundle, read_manifest
from edge_agent.runtimes.choose import load_model_file

FORMATS = ("onnx", "tflite")
CALIBRATION = 200
REFUSED = 3


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """``path`` is ``None`` when the build was refused by its gate; ``rejected`` are the calibration rows it named as wild."""

    path: Path | None
    rejected: tuple[int, ...] = ()


def samples(name: str, path: Path, calibration: Any = None) -> Path:
    """A samples file of a network: 200 training images to calibrate on (or those given), 800 others to be judged by."""
    x, y, _, _ = images(name)
    first = x[:CALIBRATION] if calibration is None else calibration
    held = np.concatenate([first, x[CALIBRATION:]])
    labels = np.concatenate([np.resize(y[:CALIBRATION], len(first)), y[CALIBRATION:]])
    np.savez(path, image=held, labels=labels, calibrate=np.arange(len(first)))
    return path


def ours(model: Path, given: Path, target: str, *options: str) -> Made:
    """The int8 file that the converter makes of ``model`` with the samples ``given``."""
    out = given.with_name(f"{model.stem}-{target}.edgemodel")
    words = ["--profile", "rpi4", "--target", target, "--scheme", "int8", "--force", "--no-search", "-q", "--name", "m", "--version", "1"]
    words += ["--pack-weights", "inside"]  # the file alone is judged
    command = [sys.executable, "-m", "converters", "build", str(model), "--samples", str(given), "-o", str(out), *words, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode == REFUSED:
        return Made(None)
    if done.returncode:
        raise RuntimeError(f"edge-convert ended with status {done.returncode}: {done.stderr.strip()[-500:]}")
    manifest, files = read_bundle(out)
    path = out.with_suffix(f".{target}")
    path.write_bytes(files[manifest.model_file.path])
    rejected = read_manifest(out).quality["calibration"]["rejected"]
    out.unlink()
    return Made(path, tuple(int(sample["row"]) for sample in rejected))


def theirs(model: Path, calibration: Any, out: Path, method: str = "MinMax") -> Path:
    """The same of ``onnxruntime.quantization`` at its best for this processor: u8s8, a scale for each channel."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rows = iter(calibration)

        def get_next(self) -> dict[str, Any] | None:
            row = next(self._rows, None)
            return None if row is None else {"image": row[None]}

    logging.getLogger().setLevel(logging.ERROR)  # its advice to pre-process first changes nothing on these models
    with redirect_stdout(io.StringIO()):
        quantize_static(
            str(model),
            str(out),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=getattr(CalibrationMethod, method),
        )
    return out


def logits(path: Path, pixels: Any) -> Any:
    """What a model file answers to each image: float32 (images, classes)."""
    runtime = load_model_file(path, threads=1)
    try:
        return np.stack([next(iter(runtime.run({runtime.inputs[0].name: image[None]}).values())).reshape(-1).copy() for image in pixels])
    finally:
        runtime.close()


def judged(answers: Any, reference: Any, labels: Any) -> dict[str, float]:
    """Signal to noise in dB over all logits, accuracy (share) and the points of accuracy lost against ``reference``."""
    right, before = float((answers.argmax(1) == labels).mean()), float((reference.argmax(1) == labels).mean())
    noise = np.square(reference - answers).sum()
    sqnr_db = float(10 * np.log10(np.square(reference).sum() / max(noise, 1e-30)))
    return {"sqnr_db": sqnr_db, "accuracy": right, "points_lost": 100 * (before - right)}


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they need to be; the first one to the left, all others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
