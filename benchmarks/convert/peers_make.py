"""Run by the Python of a peer's own environment: makes a quantized file as the peer's documentation says, and prints what that took.

``python peers_make.py PEER MODEL CALIBRATION.npy OUT``. Nothing of ours is imported; ``OUT`` is a folder for ``onnx2tf`` and a file else.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def onnx2tf(model: Path, calibration: Path, out: Path) -> None:
    """Float and, with ``-oiqt``, full-integer files; calibration data are (samples, height, width, channels), mean, deviation."""
    pixels = np.load(calibration)
    np.save(out / "nhwc.npy", np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)))
    command = [str(Path(sys.executable).parent / "onnx2tf"), "-i", str(model), "-o", str(out), "-oiqt", "-n"]
    custom = ["-cind", "image", str(out / "nhwc.npy"), "[[[[0.0]]]]", "[[[[1.0]]]]"]
    subprocess.run([*command, *custom], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def onnx2tf_float(model: Path, calibration: Path, out: Path) -> None:
    """The float file alone, for the quantizer below."""
    command = [str(Path(sys.executable).parent / "onnx2tf"), "-i", str(model), "-o", str(out), "-n"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ai_edge_quantizer(model: Path, calibration: Path, out: Path) -> None:
    """Static int8 of a float ``.tflite``: ``recipe.static_wi8_ai8``, calibrated through the model's signature."""
    package: Any = importlib.import_module("ai_edge_quantizer")
    interpreter: Any = importlib.import_module("ai_edge_litert.interpreter").Interpreter(model_path=str(model))
    key, names = next(iter(interpreter.get_signature_list().items()))
    name = names["inputs"][0]
    shape = interpreter.get_signature_runner(key).get_input_details()[name]["shape"]
    quantizer = package.Quantizer(str(model))
    quantizer.load_quantization_recipe(package.recipe.static_wi8_ai8())
    feeds = [{name: row.reshape(shape)} for row in np.load(calibration)]
    quantizer.quantize(quantizer.calibrate({key: feeds})).export_model(str(out), overwrite=True)


def onnxruntime_quantization(model: Path, calibration: Path, out: Path) -> None:
    """Static int8, QDQ, a scale for each channel, u8s8: its best for this processor."""
    quantization: Any = importlib.import_module("onnxruntime.quantization")
    types = quantization.QuantType
    options = {"per_channel": True, "activation_type": types.QUInt8, "weight_type": types.QInt8}
    quantization.quantize_static(str(model), str(out), _reader(quantization, calibration), **options)


def onnxruntime_defaults(model: Path, calibration: Path, out: Path) -> None:
    """The same call with nothing said."""
    quantization: Any = importlib.import_module("onnxruntime.quantization")
    quantization.quantize_static(str(model), str(out), _reader(quantization, calibration))


def nncf(model: Path, calibration: Path, out: Path) -> None:
    """``nncf.quantize`` as it is."""
    package: Any = importlib.import_module("nncf")
    onnx: Any = importlib.import_module("onnx")
    rows = [{"image": row[None]} for row in np.load(calibration)]
    onnx.save(package.quantize(onnx.load(str(model)), package.Dataset(rows), subset_size=len(rows)), str(out))


def _reader(quantization: Any, calibration: Path) -> Any:
    rows: Iterator[Any] = iter(np.load(calibration))

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Any:
            row = next(rows, None)
            return None if row is None else {"image": row[None]}

    return Reader()


def main() -> None:
    peer, *paths = sys.argv[1:]
    made = {f.__name__: f for f in (onnx2tf, onnx2tf_float, ai_edge_quantizer, onnxruntime_quantization, onnxruntime_defaults, nncf)}
    made[peer](*map(Path, paths))
    # Not RUSAGE_SELF: that begins with what the process had before it was this program.
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    peak_kib = max(int(own.split()[1]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    print("\n" + json.dumps({"peak_rss_mib": peak_kib / 1024}))


if __name__ == "__main__":
    main()
