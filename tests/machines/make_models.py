"""Models and bundles for the machine checks: ``make_models.py FOLDER``.

Writes models/*.onnx and models/*.tflite (float and int8; the probe runs them all), box.edgemodel and box.csv (a model and samples for
an agent). int8 ONNX and int8 TFLite of the digits come from the project's converter.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from models import CHANNELS, tiny_bundle, tiny_onnx, tiny_tflite  # noqa: E402

DIGITS = ROOT / "examples" / "digits"


def main(folder: Path) -> None:
    """Everything into ``folder``."""
    models = folder / "models"
    models.mkdir(parents=True, exist_ok=True)
    tiny_onnx(models / "tiny.onnx")
    tiny_tflite(models / "tiny.tflite")
    tiny_tflite(models / "tiny_int8.tflite", int8=True)
    (models / "digits.onnx").write_bytes((DIGITS / "digits_v1.onnx").read_bytes())
    for runtime in ("onnx", "tflite"):
        tiny_bundle(folder / f"box_{runtime}.edgemodel", name="box", version="1.0.0", runtime=runtime, int8=runtime == "tflite")
    samples = np.random.default_rng(5).uniform(-3, 3, (500, CHANNELS))
    np.savetxt(folder / "box.csv", samples, delimiter=",", fmt="%.6f")
    for bundle in folder.glob("digits_*.edgemodel"):
        with zipfile.ZipFile(bundle) as archive:
            name = next(n for n in archive.namelist() if n.startswith("model."))
            (models / f"{bundle.stem}{Path(name).suffix}").write_bytes(archive.read(name))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
